"""Finds and removes what users who have gone left of a mesh: out of the list, then deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from ktnet.cluster.holding import read_holding
from ktnet.cluster.labels import MANAGED
from ktnet.cluster.mesh.cleaning import Meshed, MeshLeftovers, find_mesh_leftovers
from ktnet.cluster.mesh.membership import drop, undo
from ktnet.cluster.mesh.router import delete_router
from ktnet.cluster.server.api import Api
from ktnet.errors import Conflict, Forbidden, NotFound
from ktnet.wire.meshrecord import Member, parse_record

log = logging.getLogger(__name__)

_ROUTERS = {**MANAGED, "app.kubernetes.io/name": "ktnet-router"}


async def list_meshed(api: Api, namespace: str | None) -> list[tuple[str, Meshed]]:
    """(namespace, mesh) of every Service that is meshed; None: everywhere. Empty where Services
    may not be listed; one that we don't understand is passed over, for people to decide."""
    try:
        listing = await api.list_all("services", namespace=namespace)
    except Forbidden as error:
        log.info("Services are not looked through: %s", error)
        return []
    meshed = []
    for service in listing["items"]:
        metadata = service["metadata"]
        try:
            found = parse_record(service)
        except ValueError as error:
            log.warning("service %s: %s", metadata["name"], error)
            continue
        if found is not None:
            meshed.append((metadata.get("namespace", ""), Meshed(metadata["name"], *found)))
    return meshed


async def list_mesh_leftovers(
    api: Api, namespace: str, *, me: str, all_users: bool = False
) -> MeshLeftovers:
    """What `me` (user@host) may remove there. Raises Forbidden where that can't be seen."""
    routers = await api.list_all("deployments", namespace=namespace, labels=_ROUTERS)
    leases = await api.list_all("leases", namespace=namespace, labels=MANAGED)
    # Last: a router that isn't named by now wasn't when it was listed, or has left since.
    meshed = [mesh for _, mesh in await list_meshed(api, namespace)]
    return find_mesh_leftovers(
        meshed, routers["items"], leases["items"], api.now(), me=me, all_users=all_users
    )


async def remove_members(
    api: Api, namespace: str, mesh: Meshed, gone: Iterable[Member], tell: Callable[[str], None]
) -> None:
    """Take these out of the list; with the last one the Service is put back, its router goes."""
    for each in gone:
        if (await read_holding(api, namespace, each.session)).is_live:
            continue  # it has come back meanwhile
        router = await drop(api, namespace, mesh.service, each.session)
        tell(f"{mesh.title} sends nothing to {each.holder} any more ({each.mark})")
        with suppress(NotFound):
            await api.delete("leases", each.session, namespace=namespace)
        if router is not None:
            tell(f"{mesh.title} is back as it was")
            await delete_router(api, namespace, router)


async def recover_mesh(
    api: Api, namespace: str, mesh: Meshed, *, force: bool, tell: Callable[[str], None]
) -> None:
    """Put the Service back from its annotation alone. Raises Conflict where members are there."""
    for each in mesh.record.members:
        if not force and (await read_holding(api, namespace, each.session)).is_live:
            raise Conflict(
                f"{mesh.title} is meshed by {each.holder}, who is there since {each.since}",
                hint="`ktnet disconnect` where it is yours; --force takes it from everybody",
            )
    if await undo(api, namespace, mesh.service, mesh.text, mesh.record):
        selector = ", ".join(f"{key}={value}" for key, value in mesh.record.selector)
        tell(f"{mesh.title} is back as it was: {selector}")
        await delete_router(api, namespace, mesh.record.router)
    else:
        tell(f"{mesh.title} was changed by somebody else meanwhile")
