"""Notices that this machine has slept, or that this process was stopped.

CLOCK_BOOTTIME goes on meanwhile and is set by nobody (clock_gettime(2)): a short wait that took
long is one through which we have slept. So is one through which the machine was too busy to run
us, which does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

TICK_S = 1.0
NOTICED_S = 5.0
"""Peers and middleboxes are patient for longer than that."""


def read_boottime_s() -> float:
    """Seconds since the machine was started, those included in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def run_sleep_watch(
    on_wake: Callable[[float], Awaitable[None]], clock_s: Callable[[], float] = read_boottime_s
) -> NoReturn:
    """Call `on_wake` with the seconds that were slept, each time, until cancelled."""
    while True:
        before_s = clock_s()
        await asyncio.sleep(TICK_S)
        slept_s = clock_s() - before_s - TICK_S
        if slept_s >= NOTICED_S:
            await on_wake(slept_s)
