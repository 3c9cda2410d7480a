"""Whose address a connection goes to: a Service's, where the cluster's side knows one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

Connection = tuple[tuple[str, int], tuple[str, int]]
"""Address and port here, and there."""


def read_connection(flow: Json) -> Connection:
    """The socket of the process whose flow it is: where it is captured, between what the flow is,
    else as the session says ("socket")."""
    ends = flow.get("socket") or (flow["source"], flow["destination"])
    (address, port), (other_address, other_port) = ends
    return (address, port), (other_address, other_port)


def build_service_names(services: Iterable[Json]) -> dict[str, str]:
    """From each address to "name.namespace"."""
    return {
        address: f"{service['name']}.{service['namespace']}"
        for service in services
        for address in service["addresses"]
    }


def build_flow_row(
    flow: Json, session: str, services: dict[str, str], processes: dict[Connection, str]
) -> Json:
    """A connection as the page shows it; "service" and "process" are empty where unknown."""
    return {
        **flow,
        "session": session,
        "service": services.get(flow["destination"][0], ""),
        "process": processes.get(read_connection(flow), ""),
    }
