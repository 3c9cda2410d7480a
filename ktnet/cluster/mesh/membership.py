"""Joining a Service's mesh and leaving it: the list in its annotation, and a Lease each.

    no annotation ─ the first joins: stored, and led to its router, in one patch ─┐
         ▲                                                                        ▼
         └── the last leaves: put back, in one patch ── others join and leave: a patch each

Every patch begins with a test of what was read. So a router that is named in the annotation is
needed, and one that isn't may be removed; it has a name of its own, which never comes again.
"""

from __future__ import annotations

from typing import Any

from ktnet.cluster.holding import find_holder, read_holding
from ktnet.cluster.server.api import Api
from ktnet.cluster.server.contention import is_first, wait_for_others
from ktnet.errors import Conflict, NotFound
from ktnet.wire.meshrecord import (
    Member,
    MeshRecord,
    build_change,
    build_first_join,
    build_undo,
    parse_record,
)

Json = dict[str, Any]

MOST_ATTEMPTS = 50
"""Each of them lost to another writer of the annotation, which is no more than one member."""


async def read_mesh(api: Api, namespace: str, service: str) -> tuple[Json, str, MeshRecord | None]:
    """The Service, and its annotation as it stands there and as a record.

    Raises Conflict where that is not understood.
    """
    obj = await api.get("services", service, namespace=namespace)
    try:
        found = parse_record(obj)
    except ValueError as error:
        raise Conflict(f"service/{service}: {error}", hint="who has written it?") from error
    return (obj, *found) if found is not None else (obj, "", None)


async def check_mark(api: Api, namespace: str, record: MeshRecord, member: Member) -> None:
    """Raises Conflict where somebody who is there has the mark."""
    other = record.find_mark(member.key, member.value)
    if other is None or other.session == member.session:
        return
    if (await read_holding(api, namespace, other.session)).is_live:
        raise Conflict(
            f"the mark {member.mark} is {other.holder}'s since {other.since}",
            hint="choose another --version-mark; `ktnet status` says who is there",
        )


async def try_join(
    api: Api,
    namespace: str,
    seen: tuple[Json, str, MeshRecord | None],
    record: MeshRecord,
    member: Member,
) -> bool:
    """Add the member to what was `seen`; False where that is no longer so."""
    service, text, before = seen
    if before is None:
        patch = build_first_join(service, record.with_member(member))
    else:
        patch = build_change(text, before.with_member(member))
    return await _patch(api, namespace, service["metadata"]["name"], patch)


async def drop(api: Api, namespace: str, service: str, session: str) -> str | None:
    """Take the member out, and all that have gone; where nobody is left, the Service is put back,
    and the name of the router that nobody needs any more is returned.

    Raises what the API server says. It was in no list: that is as well.
    """
    for attempt in range(MOST_ATTEMPTS):
        try:
            _, text, record = await read_mesh(api, namespace, service)
        except NotFound:
            return None
        if record is None or record.find(session) is None:
            return None
        rest = await _without_dead(api, namespace, record.without(session))
        patch = build_change(text, rest) if rest.members else build_undo(text, record)
        if await _patch(api, namespace, service, patch):
            return None if rest.members else record.router
        await wait_for_others(attempt)
    raise Conflict(
        f"service/{service} is being changed by somebody else all the time",
        hint="`ktnet clean` takes what is left of this session out",
    )


async def _without_dead(api: Api, namespace: str, record: MeshRecord) -> MeshRecord:
    """Without those that nobody stands behind any more: they mustn't keep the last from tidying.

    A laptop that sleeps isn't dead: what is others' is left alone for as long as by `clean`.
    """
    me = find_holder()
    for each in record.members:
        holding = await read_holding(api, namespace, each.session)
        # It makes its Lease first and is listed then.
        if not holding.is_live if each.holder == me else holding.is_abandoned:
            record = record.without(each.session)
    return record


async def lead_back(api: Api, namespace: str, service: str, text: str, record: MeshRecord) -> bool:
    """Have the Service lead to its router again, whatever somebody has made of that."""
    return await _patch(api, namespace, service, build_change(text, record))


async def undo(api: Api, namespace: str, service: str, text: str, record: MeshRecord) -> bool:
    """Put the Service back; False where somebody has joined, left or undone it meanwhile."""
    return await _patch(api, namespace, service, build_undo(text, record))


async def _patch(api: Api, namespace: str, service: str, patch: list[Json]) -> bool:
    return await is_first(api.patch("services", service, patch, kind="json", namespace=namespace))
