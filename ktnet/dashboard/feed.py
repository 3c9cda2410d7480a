"""Asks the sessions while somebody looks, once a second for all who do; else not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from ktnet.dashboard.history import History

INTERVAL_S = 1.0
"""Between two looks."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Looked:
    """What there was at one moment, and the samples that were taken of it."""

    number: int
    sessions: list[Json]
    samples: dict[str, Json]
    """By the session's key."""


class Feed:
    """What is known of this machine's sessions."""

    def __init__(
        self, read_sessions: Callable[[], Awaitable[list[Json]]], *, interval_s: float = INTERVAL_S
    ) -> None:
        self._read_sessions = read_sessions
        self._interval_s = interval_s
        self._histories: dict[str, History] = {}
        self._looked = Looked(0, [], {})
        self._news = asyncio.Condition()
        self._watchers = 0
        self._watched = asyncio.Event()

    async def read_sessions(self) -> list[Json]:
        """What `ktnet status` would say now."""
        return await self._read_sessions()

    async def run(self) -> None:
        """Looks again and again while somebody watches, until cancelled."""
        while True:
            await self._watched.wait()
            started_s = time.monotonic()
            await self._look()
            await asyncio.sleep(
                max(self._interval_s / 10, started_s + self._interval_s - time.monotonic())
            )

    async def _look(self) -> None:
        sessions = await self._read_sessions()
        now_s = time.time()
        by_key = {build_key(each): each for each in sessions}
        self._histories = {key: self._histories.get(key) or History() for key in by_key}
        samples = {
            key: asdict(self._histories[key].add(now_s, each, each.get("round_trip_s")))
            for key, each in by_key.items()
        }
        async with self._news:
            self._looked = Looked(self._looked.number + 1, sessions, samples)
            self._news.notify_all()

    async def watch(self) -> AsyncGenerator[Looked, None]:
        """Each look from now on; those that the caller is too slow for are left out."""
        self._watchers += 1
        self._watched.set()
        try:
            seen = self._looked.number
            while True:
                async with self._news:
                    while self._looked.number == seen:
                        await self._news.wait()
                seen = self._looked.number
                yield self._looked
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched.clear()

    @property
    def watchers(self) -> int:
        """How many look on."""
        return self._watchers

    def list_histories(self) -> dict[str, list[Json]]:
        """The samples of each session that there is, by its key."""
        return {
            key: [asdict(sample) for sample in history.list_samples()]
            for key, history in self._histories.items()
        }


def build_key(session: Json) -> str:
    """What tells a session from others, also from one that later gets its pid."""
    return f"{session.get('pid')}@{session.get('since', '')}"
