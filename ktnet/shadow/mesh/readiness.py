"""When this pod may get requests: its health port opens, and the cluster takes it for ready."""

from __future__ import annotations

import asyncio
import contextlib

from ktnet.shadow.accepting import open_acceptor
from ktnet.shadow.api.answer import ApiFailed
from ktnet.shadow.inbound import Healthy
from ktnet.shadow.log import EventLog
from ktnet.shadow.mesh.arguments import RouterArguments
from ktnet.shadow.mesh.members import Members
from ktnet.shadow.mesh.service import MeshedService

ATTACH_WITHIN_S = 5.0
"""A laptop attaches to a new pod within about a second; one that doesn't is asleep or gone, and
must not keep the others' pods from being replaced."""


async def open_when_attached(
    arguments: RouterArguments,
    members: Members,
    service: MeshedService | None,
    tasks: asyncio.TaskGroup,
    log: EventLog,
) -> None:
    """Keep the health port open, once the members have attached or had the time to, until
    cancelled."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ATTACH_WITHIN_S):
            await _wait_for_members(members, service, log)
    health = open_acceptor(arguments.bind, arguments.health_port, Healthy, tasks)
    log.event("ready", members=len(members.sessions))
    try:
        await asyncio.Event().wait()
    finally:
        health.close()


async def _wait_for_members(members: Members, service: MeshedService | None, log: EventLog) -> None:
    if service is None:
        # Who the members are isn't known: one at least is about to come.
        await members.wait_for(bool)
        return
    try:
        found = await service.read()
    except (ApiFailed, ValueError) as error:
        log.event("the members aren't known", reason=error)
        await members.wait_for(bool)
        return
    expected = {each.session for each in found[1].members} if found is not None else set()
    await members.wait_for(lambda sessions: expected <= sessions)
