"""When nobody needs this router any more: put the Service back, and go.

nobody attached for idle_s ─► does the Service lead here? ── no ─────────────────┐
     ▲                                │ yes                                      ▼
     │                 does anybody renew a member's Lease? ─ no ─► put it back ─► send the clients
     └──────────────────────── yes ◄──┘                                          away ─► delete
"""

from __future__ import annotations

import asyncio

from ktnet.shadow.api.answer import ApiFailed
from ktnet.shadow.lifetime import Attendance
from ktnet.shadow.log import EventLog
from ktnet.shadow.mesh.service import MeshedService

START_S = 30.0
"""So long who makes a router may take to attach to it and to lead the Service to it."""

LONGEST_LOOK_S = 5.0
"""Between looks at the Service and the Leases, while nobody is attached."""


async def wait_until_needless(
    service: MeshedService, attendance: Attendance, idle_s: float, log: EventLog
) -> None:
    """Return when the Service doesn't lead here any more, and nobody has been attached for so long.

    Who can't reach this pod may well be attached to another one, so the members' Leases count too.
    """
    look_s = min(LONGEST_LOOK_S, idle_s / 4)
    loop = asyncio.get_running_loop()
    started = idle_since = loop.time()
    while True:
        if attendance.attached:
            await attendance.wait_idle(look_s)
            idle_since = loop.time() - look_s
        now = loop.time()
        is_new = now - started < START_S
        try:
            is_over = await _look(
                service, is_idle=now - idle_since >= idle_s, is_new=is_new, log=log
            )
        except (ApiFailed, ValueError) as error:
            log.event("the Service can't be looked after", reason=error)
        else:
            if is_over and not attendance.attached:
                return
        await asyncio.sleep(look_s)


async def _look(service: MeshedService, *, is_idle: bool, is_new: bool, log: EventLog) -> bool:
    """Whether this router is over."""
    found = await service.read()
    if found is None:
        return is_idle and not is_new
    text, record = found
    # All of them, each time: what is looked at first now is known to be dead later.
    alive = [each.session for each in record.members if await service.is_alive(each)]
    if alive or not is_idle:
        return False
    if await service.undo(text, record):
        log.event("put back", members=len(record.members))
        return True
    return False
