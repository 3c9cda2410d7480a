"""An event loop whose clock can run fast: what waits for minutes does so in seconds.

All that asyncio waits for goes by the loop's time: the timers of the API server that runs in it,
and those of its clients.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any


class FastLoop(asyncio.SelectorEventLoop):
    """Runs as others do, until `run_at` says otherwise."""

    def __init__(self) -> None:
        self._speed, self._since_s, self._shown_s = 1.0, time.monotonic(), 0.0
        super().__init__(_Selector(lambda: self._speed))

    def run_at(self, speed: float) -> None:
        """From now on so many seconds of the loop go by in one."""
        self._shown_s, self._since_s = self.time(), time.monotonic()
        self._speed = speed

    def time(self) -> float:
        return self._shown_s + (time.monotonic() - self._since_s) * self._speed


class _Selector(selectors.DefaultSelector):
    def __init__(self, speed: Callable[[], float]) -> None:
        super().__init__()
        self._speed_now = speed

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout > 0:
            timeout /= self._speed_now()
        return super().select(timeout)


async def run_in_fast_loop(work: Callable[[FastLoop], Coroutine[Any, Any, None]]) -> None:
    """Beside the loop that is running, in a thread."""

    def run() -> None:
        with asyncio.Runner(loop_factory=FastLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, FastLoop)
            runner.run(work(loop))

    await asyncio.to_thread(run)
