"""Which Services there are, so that `tomcat.demo` can be told from a name of the outside world."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ktnet.cluster.api import Api
from ktnet.cluster.informer import run_informer, version_of
from ktnet.errors import Forbidden
from ktnet.tasks import open_tasks

Json = dict[str, Any]


class ServiceIndex:
    """The names of the cluster's Services, as new as the last event of a watch."""

    def __init__(self, warning: str) -> None:
        self.warning = warning
        """What is missing, for the user; empty where nothing is."""
        self._names: set[tuple[str, str]] = set()

    def exists(self, namespace: str, name: str) -> bool:
        """Whether that Service is known to exist; names of the API are lower-case."""
        return (namespace.lower(), name.lower()) in self._names

    def __len__(self) -> int:
        return len(self._names)

    def replace(self, objects: list[Json]) -> None:
        """Take these for all there is."""
        self._names = {_name_of(service) for service in objects}

    def change(self, kind: str, obj: Json) -> None:
        """One Service came, changed or went."""
        if kind == "DELETED":
            self._names.discard(_name_of(obj))
        else:
            self._names.add(_name_of(obj))


@asynccontextmanager
async def open_service_index(api: Api, namespace: str) -> AsyncIterator[ServiceIndex]:
    """An index of all Services that we may see: of the cluster, else of `namespace`, else none."""
    scope: str | None = None
    try:
        listing, warning = await api.list_all("services"), ""
    except Forbidden:
        scope = namespace
        try:
            listing = await api.list_all("services", namespace=namespace)
        except Forbidden:
            yield ServiceIndex(
                "no right to list Services: names such as <service>.<namespace> resolve only "
                "with the cluster's domain"
            )
            return
        warning = (
            f"no right to list Services of all namespaces: outside {namespace}, names such as "
            "<service>.<namespace> resolve only with the cluster's domain"
        )
    index = ServiceIndex(warning)
    index.replace(listing["items"])
    async with open_tasks() as tasks:
        tasks.create_task(
            run_informer(api, "services", version_of(listing), index, namespace=scope),
            name="service index",
        )
        yield index


def _name_of(service: Json) -> tuple[str, str]:
    metadata = service.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
