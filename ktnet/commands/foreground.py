"""Runs a session in the foreground: until a signal, `ktnet disconnect`, or the loss of a part."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

from ktnet.commands.progress import Progress
from ktnet.control import open_control
from ktnet.errors import Interrupted
from ktnet.tasks import open_tasks

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Running(Protocol):
    """A session that is up."""

    async def watch(self) -> None:
        """Waits until a part is lost; raises what became of it."""

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""


def run_in_foreground(
    command: str,
    identity: dict[str, Any],
    opening: AbstractAsyncContextManager[Running],
    progress: Progress,
) -> None:
    """Opens the session, keeps it until it shall end, and undoes it.

    `identity` is what `ktnet status` shows of it from the start. Raises Interrupted where it
    shall end before it is ready, and what the session raises.
    """
    asyncio.run(_Foreground(command, identity, progress).run(opening))


class _Foreground:
    def __init__(self, command: str, identity: dict[str, Any], progress: Progress) -> None:
        self._progress = progress
        self._state = "connecting"
        self._described = {"command": command, **identity, "since": build_time(datetime.now(UTC))}
        self._details: Callable[[], dict[str, Any]] = dict
        self._ending = asyncio.Event()
        self._opening: asyncio.Task[Any] | None = None

    async def run(self, opening: AbstractAsyncContextManager[Running]) -> None:
        self._opening = asyncio.current_task()
        for number in ENDING_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._end)
        try:
            async with open_control(self._describe, self._end):
                await self._keep(opening)
        except asyncio.CancelledError:
            if self._ending.is_set():
                raise Interrupted("interrupted before it was ready; all is undone") from None
            raise

    async def _keep(self, opening: AbstractAsyncContextManager[Running]) -> None:
        async with opening as session, open_tasks() as tasks:
            self._opening = None
            self._state, self._details = "connected", session.describe
            self._progress.ready("Ctrl-C or `ktnet disconnect` undoes it all")
            tasks.create_task(session.watch(), name="watch the session")
            await self._ending.wait()
            self._state = "ending"
        self._progress.step("undone", "this machine and the cluster are as they were")

    def _describe(self) -> dict[str, Any]:
        return {**self._described, "state": self._state, **self._details()}

    def _end(self) -> None:
        """Once is enough: further signals don't disturb the undoing."""
        if not self._ending.is_set():
            self._ending.set()
            if self._opening is not None:
                self._opening.cancel()


def build_time(moment: datetime) -> str:
    """RFC 3339, in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
