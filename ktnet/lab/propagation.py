"""How changes in the API reach the node: together, a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ktnet.lab.api.store import Store

DELAY_S = 0.2
"""From a change in the API to its effect on the node, about as seen on a real cluster."""


async def run_after_changes(
    store: Store, plurals: tuple[str, ...], act: Callable[[], Awaitable[None]]
) -> None:
    """Calls `act` DELAY_S after the first of any changes of these kinds; until cancelled."""
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for plural in plurals:
            tasks.create_task(_watch(store, plural, changed))
        while True:
            await changed.wait()
            await asyncio.sleep(DELAY_S)
            changed.clear()
            await act()


async def _watch(store: Store, plural: str, changed: asyncio.Event) -> None:
    with store.watch(plural) as events:
        async for _ in events:
            changed.set()
