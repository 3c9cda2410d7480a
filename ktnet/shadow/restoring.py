"""Putting back what was taken for a laptop that doesn't return.

may we? ─ no ─► never end: it waits for people, or passes callers on
   │ yes
   ▼
nobody attached for a while ─► nobody may attach ─► does it still bear our annotation? ─ no ─► over
   ▲                                                         │ yes
   └───────────── not reached, not allowed ◄──────────────── undo, in one patch ─► over
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any

from ktnet.shadow.api.account import find_account
from ktnet.shadow.api.answer import ApiFailed, ApiRefused, ApiUnreachable
from ktnet.shadow.api.client import ApiClient
from ktnet.shadow.arguments import Restorable
from ktnet.shadow.lifetime import Attendance
from ktnet.shadow.log import EventLog
from ktnet.wire.record import Record, build_rehearsal, build_undo, parse_record

Json = dict[str, Any]

ARM_TIMEOUT_S = 10.0
"""For the API server to let us: it may hear of a Role late, and of us."""

RETRY_INTERVAL_S = 1.0

_NOT_FOUND = 404


@dataclass
class Restorer:
    """One object, and the right to put it back."""

    client: ApiClient
    restorable: Restorable
    log: EventLog
    retry_interval_s: float = RETRY_INTERVAL_S
    _is_unsure: bool = False
    """Whether it isn't known what became of the undo."""

    async def arm(self, timeout_s: float = ARM_TIMEOUT_S) -> bool:
        """Whether it could be done: by doing it, as a dry run, to the object as it is."""
        reason: Exception | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        await self._rehearse()
                    except ApiFailed as error:
                        reason = error
                    else:
                        return True
                    await asyncio.sleep(self.retry_interval_s)
        except TimeoutError:
            self.log.event("cannot restore", reason=reason or "no answer")
            return False

    async def run(self, attendance: Attendance, idle_s: float) -> None:
        """Return when nobody has been attached for so long and nothing is left to be put back."""
        while True:
            await attendance.wait_idle(idle_s)
            while not attendance.attached:
                attendance.close()
                if await self._try():
                    return
                if not self._is_unsure:
                    attendance.reopen()
                await asyncio.sleep(self.retry_interval_s)

    async def _rehearse(self) -> None:
        what = self.restorable
        obj = await self.client.get(what.plural, what.namespace, what.name)
        rehearsal = build_rehearsal(obj, what.mode)
        await self.client.patch(what.plural, what.namespace, what.name, rehearsal, dry_run=True)

    async def _try(self) -> bool:
        """Whether nothing that we took is left."""
        try:
            how = await self._restore()
        except (ApiFailed, ValueError) as error:
            # Refused with 422, somebody else has done it meanwhile, as the next look shows.
            self.log.event("not restored yet", object=self.restorable.name, reason=error)
            return False
        self.log.event("restored", object=self.restorable.name, how=how)
        return True

    async def _restore(self) -> str:
        what = self.restorable
        stored = await self._read()
        self._is_unsure = False
        if stored is None:
            return "it is not ours any more"
        try:
            await self.client.patch(what.plural, what.namespace, what.name, build_undo(*stored))
        except ApiUnreachable:
            self._is_unsure = True
            raise
        return "put back"

    async def _read(self) -> tuple[str, Record] | None:
        """The annotation, where it is of our session. ValueError: it isn't understood."""
        what = self.restorable
        try:
            obj = await self.client.get(what.plural, what.namespace, what.name)
        except ApiRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        stored = parse_record(obj)
        return stored if stored is not None and stored[1].session == what.session else None


def open_restorer(restorable: Restorable, log: EventLog) -> Restorer | None:
    """None where the pod has no account."""
    try:
        account = find_account(os.environ)
    except ApiUnreachable as error:
        log.event("cannot restore", reason=error)
        return None
    return Restorer(ApiClient(account), restorable, log)
