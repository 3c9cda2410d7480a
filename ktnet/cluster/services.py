"""Which Services there are, so that `tomcat.demo` can be told from a name of the outside world."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from ktnet.cluster.server.api import Api
from ktnet.cluster.server.informer import run_informer, version_of
from ktnet.errors import Forbidden, KtnetError
from ktnet.tasks import open_tasks
from ktnet.wire.service import Service

log = logging.getLogger(__name__)

Json = dict[str, Any]


class ServiceIndex:
    """The cluster's Services, as new as the last event of a watch."""

    def __init__(self, warning: str) -> None:
        self.warning = warning
        """What is missing, for the user; empty where nothing is."""
        self._services: dict[tuple[str, str], Service] = {}
        self._changed = asyncio.Event()

    def find(self, namespace: str, name: str) -> Service | None:
        """That Service, where it is known to exist; both in lower case, as names of the API are."""
        return self._services.get((namespace, name))

    @property
    def namespaces(self) -> frozenset[str]:
        """Those in which there are Services."""
        return frozenset(namespace for namespace, _ in self._services)

    async def wait_for_other_namespaces(self, known: frozenset[str]) -> frozenset[str]:
        """Wait until the namespaces with Services are others than `known`; which they are then."""
        while (found := self.namespaces) == known:
            self._changed.clear()
            await self._changed.wait()
        return found

    def replace(self, objects: list[Json]) -> None:
        """Take these for all there is."""
        self._services = {_name_of(service): parse_service(service) for service in objects}
        self._changed.set()

    def change(self, kind: str, obj: Json) -> None:
        """One Service came, changed or went."""
        if kind == "DELETED":
            self._services.pop(_name_of(obj), None)
        else:
            self._services[_name_of(obj)] = parse_service(obj)
        self._changed.set()


def parse_service(obj: Json) -> Service:
    """What its names depend on.

    https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/: `clusterIP`
    is "None" for a headless one, `clusterIPs` lists one for each of its families; what is no
    address is left out.
    """
    spec = obj.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    listed = spec.get("clusterIPs")
    texts = listed if isinstance(listed, list) and listed else [spec.get("clusterIP")]
    parsed = (_parse_address(text) for text in texts)
    return Service(
        headless=spec.get("clusterIP") == "None",
        addresses=tuple(address for address in parsed if address is not None),
    )


def _parse_address(text: object) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text) if isinstance(text, str) else None
    except ValueError:
        return None


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
        tasks.create_task(_follow(api, version_of(listing), index, scope), name="service index")
        yield index


async def _follow(api: Api, version: str, index: ServiceIndex, scope: str | None) -> None:
    try:
        await run_informer(api, "services", version, index, namespace=scope)
    except KtnetError as error:
        # A right to list without the one to watch, or one taken away: no reason to end a session.
        log.warning("new Services are not noticed from now on: %s", error)


def _name_of(service: Json) -> tuple[str, str]:
    metadata = service.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
