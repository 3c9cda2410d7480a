"""The loop that all controllers share: watches mark keys as dirty, a worker reconciles them.

The store is in the same process and synchronous, so a controller reads what *is*, never a cache
that lags: none of the expectation bookkeeping of real controllers is needed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Iterable
from typing import Protocol

from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.kind import Obj

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 10.0
"""A refused change is tried again at doubling distances, as client-go's rate limiter does."""

SEEN_AFTER_S = 0.02
"""Who reacts to what other controllers do looks a moment later, as a watch takes about so long: the
others have had their turn by then (recorded in 04-watch/deployment-lifecycle-*)."""

Key = tuple[str | None, str]
"""Namespace and name of the object to reconcile."""


class Controller(Protocol):
    """One controller: which changes concern which keys, and what to do about a key."""

    @property
    def watched(self) -> tuple[str, ...]:
        """Plural names whose changes it hears of."""

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        """The keys that a change concerns, each with the seconds to wait before it is looked at.

        `kind` is ADDED, MODIFIED or DELETED.
        """

    def reconcile(self, key: Key) -> float | None:
        """Looks and changes; returns after how many seconds to look again, if at all.

        Raises ApiError where the API server refuses: then it is called again a little later.
        """


class WorkQueue:
    """Keys and when each is due (seconds on any clock); the earliest wish for a key wins."""

    def __init__(self) -> None:
        self._due_s: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()

    def add(self, key: Key, due_s: float) -> None:
        known_s = self._due_s.get(key)
        if known_s is None or due_s < known_s:
            self._due_s[key] = due_s
            heapq.heappush(self._heap, (due_s, next(self._order), key))

    def take(self, now_s: float) -> Key | None:
        """The next key that is due, or None."""
        self._forget_superseded()
        if not self._heap or self._heap[0][0] > now_s:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due_s[key]
        return key

    def next_due_s(self) -> float | None:
        self._forget_superseded()
        return self._heap[0][0] if self._heap else None

    def _forget_superseded(self) -> None:
        while self._heap and self._due_s.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)


async def run_controller(store: Store, controller: Controller) -> None:
    """Runs until cancelled."""
    queue = WorkQueue()
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for plural in controller.watched:
            tasks.create_task(_watch(store, controller, plural, queue, changed))
        tasks.create_task(_work(controller, queue, changed))


async def _watch(
    store: Store, controller: Controller, plural: str, queue: WorkQueue, changed: asyncio.Event
) -> None:
    clock = asyncio.get_running_loop().time
    with store.watch(plural) as events:
        async for kind, obj in events:
            for key, after_s in controller.dirty(plural, kind, obj):
                queue.add(key, clock() + after_s)
            changed.set()


async def _work(controller: Controller, queue: WorkQueue, changed: asyncio.Event) -> None:
    clock = asyncio.get_running_loop().time
    retry_s: dict[Key, float] = {}
    while True:
        changed.clear()
        while (key := queue.take(clock())) is not None:
            try:
                again_s = controller.reconcile(key)
                retry_s.pop(key, None)
            except ApiError as error:
                again_s = retry_s.get(key, FIRST_RETRY_S)
                retry_s[key] = min(2 * again_s, LAST_RETRY_S)
                log.info("%s %s: %s", type(controller).__name__, key, error)
            if again_s is not None:
                queue.add(key, clock() + again_s)
            # One reconciliation a turn of the loop: the API server and the kubelet live here too.
            await asyncio.sleep(0)
        due_s = queue.next_due_s()
        try:
            async with asyncio.timeout_at(due_s):
                await changed.wait()
        except TimeoutError:
            pass
