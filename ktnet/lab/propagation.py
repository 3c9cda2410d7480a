"""How changes in the API reach the node: together, a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ktnet.lab.api.store import Store

DELAY_S = 0.2
"""From a change in the API to its effect on the node, about as seen on a real cluster."""


class Follower:
    """Has `act` done DELAY_S after the first of any changes of these kinds."""

    def __init__(
        self, store: Store, plurals: tuple[str, ...], act: Callable[[], Awaitable[None]]
    ) -> None:
        self._store, self._plurals, self._act = store, plurals, act
        self._changed = asyncio.Event()
        self._begun = self._done = 0
        """How often it was done; what is being done counts as begun."""
        self._acted = asyncio.Condition()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for plural in self._plurals:
                tasks.create_task(self._watch(plural))
            while True:
                await self._changed.wait()
                await asyncio.sleep(DELAY_S)
                self._changed.clear()
                self._begun += 1
                await self._act()
                async with self._acted:
                    self._done = self._begun
                    self._acted.notify_all()

    async def settle(self) -> None:
        """Until everything that the API holds by now has had its effect."""
        wanted = self._begun + 1
        self._changed.set()
        async with self._acted:
            await self._acted.wait_for(lambda: self._done >= wanted)

    async def _watch(self, plural: str) -> None:
        with self._store.watch(plural) as events:
            async for _ in events:
                self._changed.set()
