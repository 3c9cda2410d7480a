from __future__ import annotations

import asyncio
import time

import pytest

from ktnet.shadow.lifetime import Attendance


def test_idle_counts_from_the_start():
    async def scenario():
        async with asyncio.timeout(5):
            await Attendance().wait_idle(0.01)

    asyncio.run(scenario())


def test_idle_counts_anew_whenever_the_last_one_leaves():
    async def scenario():
        attendance = Attendance()
        waiting = asyncio.ensure_future(attendance.wait_idle(0.2))
        attendance.arrive()
        attendance.arrive()
        await asyncio.sleep(0.3)
        attendance.leave()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        assert attendance.attached == 1
        attendance.leave()
        await asyncio.sleep(0.05)
        attendance.arrive()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        attendance.leave()
        left_at = time.monotonic()
        await waiting
        assert time.monotonic() - left_at >= 0.19

    asyncio.run(scenario())


def test_cancelling_the_wait_cancels_it():
    async def scenario():
        waiting = asyncio.ensure_future(Attendance().wait_idle(60))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())
