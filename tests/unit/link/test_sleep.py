"""How a machine's sleep is noticed."""

from __future__ import annotations

import asyncio
import time

import pytest

from ktnet.link import sleep


@pytest.fixture(autouse=True)
def ssh_path():
    """None here."""


class Clock:
    """CLOCK_BOOTTIME, and what was slept beside."""

    def __init__(self):
        self.slept_s = 0.0

    def __call__(self):
        return time.monotonic() + self.slept_s


def test_each_sleep_is_told_of_and_nothing_else(monkeypatch):
    monkeypatch.setattr(sleep, "TICK_S", 0.01)
    told = []

    async def scenario():
        clock, woke = Clock(), asyncio.Event()

        async def on_wake(slept_s):
            told.append(slept_s)
            woke.set()

        watch = asyncio.ensure_future(sleep.run_sleep_watch(on_wake, clock))
        for slept_s in (3600.0, 2.0, 17.0):
            await asyncio.sleep(0.05)
            clock.slept_s += slept_s
            if slept_s > sleep.NOTICED_S:
                async with asyncio.timeout(10):
                    await woke.wait()
                woke.clear()
        watch.cancel()

    asyncio.run(scenario())
    assert [round(slept_s) for slept_s in told] == [3600, 17]
