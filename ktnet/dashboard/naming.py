"""Whose address a connection goes to: a Service's, where the cluster's side knows one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]


def build_service_names(services: Iterable[Json]) -> dict[str, str]:
    """From each address to "name.namespace"."""
    return {
        address: f"{service['name']}.{service['namespace']}"
        for service in services
        for address in service["addresses"]
    }


def build_flow_row(
    flow: Json, session: str, services: dict[str, str], processes: dict[tuple[str, int], str]
) -> Json:
    """A connection as the page shows it; "service" and "process" are empty where unknown."""
    source, destination = flow["source"], flow["destination"]
    return {
        **flow,
        "session": session,
        "service": services.get(destination[0], ""),
        "process": processes.get((source[0], source[1]), ""),
    }
