"""When this pod may get requests: its health port opens, and the cluster takes it for ready."""

from __future__ import annotations

import asyncio
import contextlib

from ktnet.shadow.accepting import Acceptor
from ktnet.shadow.inbound import Healthy
from ktnet.shadow.log import EventLog
from ktnet.shadow.mesh.arguments import RouterArguments
from ktnet.shadow.mesh.members import Members

ATTACH_WITHIN_S = 5.0
"""A laptop attaches to a new pod within about a second; one that doesn't is asleep or gone, and
must not keep the others' pods from being replaced."""


async def open_when_attached(
    arguments: RouterArguments, members: Members, tasks: asyncio.TaskGroup, log: EventLog
) -> None:
    """Keep the health port open, once laptops have attached or had the time to, until cancelled."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ATTACH_WITHIN_S):
            await members.wait_for_somebody()
    health = Acceptor(arguments.bind, arguments.health_port, Healthy, tasks)
    log.event("ready", members=len(members.sessions))
    try:
        await asyncio.Event().wait()
    finally:
        health.close()
