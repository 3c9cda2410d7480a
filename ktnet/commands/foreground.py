"""Runs a session in the foreground: until a signal, `ktnet disconnect`, or the loss of a part."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any

from ktnet import control
from ktnet.commands.answers import Answers, describe_asked
from ktnet.commands.events import note_warnings
from ktnet.commands.progress import Progress
from ktnet.errors import Interrupted, KtnetError, NotFound, UsageError
from ktnet.session.options import ClusterOptions
from ktnet.session.running import Running
from ktnet.stream.garbage import spare_what_stays
from ktnet.stream.loop import run as run_loop
from ktnet.tasks import open_tasks

ENDING_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def run_in_foreground(
    command: str,
    cluster: ClusterOptions,
    opening: AbstractAsyncContextManager[Running],
    progress: Progress,
    *,
    detach: bool = False,
) -> None:
    """Opens the session, keeps it until it shall end, and undoes it.

    With `detach`, only what happens until it is ready does so in the foreground. Raises Interrupted
    where it shall end before it is ready, and what the session raises.
    """

    described = describe_asked(command, cluster)

    def run(on_ready: Callable[[], None] | None) -> None:
        spare_what_stays()
        run_loop(_Foreground(described, progress, on_ready).run(opening))

    if detach:
        if not hasattr(os, "fork"):
            raise UsageError("this system has no fork, which --detach needs")
        from ktnet.commands.detach import run_detached  # not on every system

        run_detached(run)
    else:
        run(None)


class _Foreground:
    def __init__(
        self,
        described: dict[str, Any],
        progress: Progress,
        on_ready: Callable[[], None] | None,
    ) -> None:
        self._progress = progress
        self._on_ready = on_ready
        self._state = "connecting"
        self._described = described
        self._details: Callable[[], dict[str, Any]] = dict
        self._ending = asyncio.Event()
        self._opening: asyncio.Task[Any] | None = None
        self._session: Running | None = None

    async def run(self, opening: AbstractAsyncContextManager[Running]) -> None:
        self._opening = asyncio.current_task()
        with (
            _ending_signals(asyncio.get_running_loop(), self._end),
            note_warnings(self._progress.events),
        ):
            try:
                async with self._open_control():
                    await self._keep(opening)
            except asyncio.CancelledError:
                if self._ending.is_set():
                    raise Interrupted("interrupted before it was ready; all is undone") from None
                raise

    def _open_control(self) -> AbstractAsyncContextManager[None]:
        if not control.IS_POSSIBLE:
            return nullcontext()
        answers = Answers(self._progress.events, lambda: self._session)
        handlers = {"dns": self._explain_name, **answers.handlers}
        return control.open_control(self._describe, self._end, handlers)

    async def _keep(self, opening: AbstractAsyncContextManager[Running]) -> None:
        async with opening as session:
            self._opening = None
            self._state, self._details, self._session = "connected", session.describe, session
            if self._on_ready is None:
                self._progress.ready("Ctrl-C or `ktnet disconnect` undoes it all")
            else:
                self._progress.ready("`ktnet disconnect` undoes it all")
                self._on_ready()
            failure = await self._wait_for_end(session)
            self._state, self._session = "ending", None
            self._progress.begin()
        self._progress.step("undone", session.describe_end())
        if failure is not None:
            raise failure

    async def _wait_for_end(self, session: Running) -> KtnetError | None:
        """What has ended the session; None: somebody wanted it."""
        try:
            async with open_tasks() as tasks:
                tasks.create_task(session.watch(), name="watch the session")
                await self._ending.wait()
        except KtnetError as failure:
            self._progress.note(f"{failure.message}; undoing")
            return failure
        return None

    def _describe(self) -> dict[str, Any]:
        return {**self._described, "state": self._state, **self._details()}

    async def _explain_name(self, request: dict[str, Any]) -> dict[str, Any]:
        name, qtype = request.get("name"), request.get("type")
        if not isinstance(name, str) or not isinstance(qtype, int) or not 0 <= qtype < 0x10000:
            raise UsageError("a request for a name has no name, or no number for its type")
        if self._session is None:
            raise NotFound(f"the session is {self._state}", hint="try again when it is connected")
        if self._session.explain_name is None:
            command = self._described["command"]
            raise NotFound(f"`ktnet {command}` doesn't touch this machine's names")
        return await self._session.explain_name(name, qtype)

    def _end(self) -> None:
        """Once is enough: further signals don't disturb the undoing."""
        if not self._ending.is_set():
            self._ending.set()
            if self._opening is not None:
                self._opening.cancel()


@contextmanager
def _ending_signals(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> Iterator[None]:
    """Each of these signals calls `end` in the loop; once the context is left, they do nothing.

    Not by `loop.add_signal_handler`: as the loop closes it brings the defaults back, and a second
    Ctrl-C would then kill a process that had undone everything and was about to say so.
    """
    numbers = [each for each in ENDING_SIGNALS if not _is_by_nohup(each)]
    for number in numbers:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(end))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


def _is_by_nohup(number: signal.Signals) -> bool:
    """nohup(1) has SIGHUP ignored."""
    return number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN
