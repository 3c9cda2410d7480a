"""Finds and removes what dead sessions have left: first everything is put back, then deleted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from ktnet.cluster.cleaning import Leftover, Taken, find_leftovers
from ktnet.cluster.exchange.taking import undo
from ktnet.cluster.exchange.workload import Subject
from ktnet.cluster.holding import read_holding
from ktnet.cluster.labels import MANAGED
from ktnet.cluster.mesh.router_manifests import ROUTER_LABEL
from ktnet.cluster.server.api import Api
from ktnet.errors import Conflict, Forbidden, NotFound
from ktnet.wire.record import parse_record

log = logging.getLogger(__name__)

Json = dict[str, Any]

_PLURALS = ("deployments", "statefulsets", "services")


async def list_taken(api: Api, namespace: str | None) -> list[Taken]:
    """Every object that bears our annotation, of the kinds that may be read; None: everywhere.

    One that we don't understand is passed over, for people to decide.
    """
    return [each async for each in _list_taken(api, namespace)]


async def _list_taken(api: Api, namespace: str | None) -> AsyncIterator[Taken]:
    for plural in _PLURALS:
        try:
            listing = await api.list_all(plural, namespace=namespace)
        except Forbidden as error:
            log.info("%s are not looked through: %s", plural, error)
            continue
        for obj in listing["items"]:
            try:
                stored = parse_record(obj)
            except ValueError as error:
                log.warning("%s %s: %s", plural, obj["metadata"]["name"], error)
                continue
            if stored is not None:
                yield Taken(Subject(plural, obj), *stored)  # type: ignore[arg-type]


async def list_leftovers(
    api: Api, namespace: str, *, me: str, all_users: bool = False
) -> list[Leftover]:
    """What `me` (user@host) may remove there. Raises Forbidden where Jobs can't be listed."""
    jobs = await api.list_all("jobs", namespace=namespace, labels=MANAGED)
    leases = await api.list_all("leases", namespace=namespace, labels=MANAGED)
    # Those of a mesh's members are its router's (`ktnet.cluster.mesh.leftovers`).
    own = [each for each in leases["items"] if ROUTER_LABEL not in each["metadata"]["labels"]]
    taken = await list_taken(api, namespace)
    return find_leftovers(jobs["items"], own, taken, api.now(), me=me, all_users=all_users)


async def remove(api: Api, namespace: str, leftover: Leftover, tell: Callable[[str], None]) -> None:
    """Put back what the session took, then delete its Jobs, which own the rest.

    Looks once more whether its holder has come back meanwhile, and then leaves all as it is.
    """
    holding = await read_holding(api, namespace, leftover.session)
    if holding.is_live:
        return
    for each in leftover.taken:
        if await undo(api, namespace, each.subject, each.text, each.record):
            tell(f"{each.subject.title} is back as it was{_describe(each)}")
    for job in leftover.jobs:
        with suppress(NotFound):
            await api.delete("jobs", job, namespace=namespace, propagation="Background")
            tell(f"removed session {leftover.session} of {leftover.holder or 'somebody'}")
    if not leftover.jobs:
        # Its owner is gone, and garbage collection would have taken it had it been there then.
        with suppress(NotFound):
            await api.delete("leases", leftover.session, namespace=namespace)


async def recover(
    api: Api,
    namespace: str,
    subjects: list[Taken],
    *,
    force: bool,
    tell: Callable[[str], None],
) -> None:
    """Put these back from their annotation alone, whatever is left of their sessions.

    Raises Conflict, before anything is done, where a holder is there and `force` isn't given.
    """
    for each in subjects:
        holding = await read_holding(api, namespace, each.record.session)
        if holding.is_live and not force:
            raise Conflict(
                f"{each.subject.title} is held by {each.record.holder}, who is there since "
                f"{each.record.since}",
                hint="`ktnet disconnect` where it is yours; --force takes it from anybody",
            )
    for each in subjects:
        if await undo(api, namespace, each.subject, each.text, each.record):
            tell(f"{each.subject.title} is back as it was{_describe(each)}")
        else:
            tell(f"{each.subject.title} was put back by somebody else meanwhile")


def _describe(taken: Taken) -> str:
    if taken.record.mode == "scale":
        return f": {taken.record.replicas} replicas"
    return f": {', '.join(f'{key}={value}' for key, value in taken.record.selector)}"
