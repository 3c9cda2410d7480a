"""Identical questions that are being asked: the later ones wait for the first one's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """What is being asked at the moment, by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, asyncio.Future[T | None]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def ask(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask()` gives or raises; of several with one key only one asks at a time."""
        while (flight := self._flights.get(key)) is not None:
            # Shielded: one that gives up waiting must not take the others' answer along.
            if (outcome := await asyncio.shield(flight)) is not None:
                return outcome
        own: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._flights[key] = own
        try:
            outcome = await ask()
        except Exception as error:
            own.set_exception(error)
            own.exception()  # perhaps nobody waits for it
            raise
        else:
            own.set_result(outcome)
            return outcome
        finally:
            if self._flights.get(key) is own:
                del self._flights[key]
            if not own.done():
                own.set_result(None)  # cancelled: one of those who wait asks anew

    def leave(self) -> None:
        """Let whoever comes from now on ask anew."""
        self._flights.clear()
