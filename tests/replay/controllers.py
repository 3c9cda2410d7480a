"""Controllers of the lab beside a replayed API server: what they write is then no preparation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ktnet.lab.controllers.loop import Controller, run_controller

LIMIT_S = 20.0


@asynccontextmanager
async def open_controllers(lab: Any, *controllers: Controller) -> AsyncIterator[None]:
    """They run until the end of the block."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(run_controller(lab.store, each)) for each in controllers]
        try:
            yield
        finally:
            for each in running:
                each.cancel()


async def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for what controllers bring about without telling."""
    async with asyncio.timeout(LIMIT_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
