"""A watcher of the store from within the same process: everything that is, then every change."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from ktnet.lab.api.errors import ApiError, Obj
from ktnet.lab.api.history import History

Event = tuple[str, Obj]
"""ADDED, MODIFIED or DELETED, and the object."""


class Watcher(AsyncIterator[Event]):
    """An endless iterator; it holds references to the objects it has told of, nothing more.

    One who falls behind what the history keeps is not cut off: it hears of the difference between
    what it was told and what is now.
    """

    def __init__(
        self,
        history: History,
        plural: str,
        namespace: str | None,
        read: Callable[[], tuple[int, list[Obj]]],
    ) -> None:
        """`read` gives the current resourceVersion and all objects that are watched."""
        self._history = history
        self._plural = plural
        self._namespace = namespace
        self._read = read
        self._told: dict[str, Obj] = {}
        self._pending: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._version = 0
        self._catch_up()

    def wake(self) -> None:
        """There is something new."""
        self._changed.set()

    async def __anext__(self) -> Event:
        while not self._pending:
            self._changed.clear()
            self._collect()
            if not self._pending:
                await self._changed.wait()
        return self._pending.popleft()

    def _collect(self) -> None:
        try:
            changes = self._history.since(self._plural, self._version)
        except ApiError:
            self._catch_up()
            return
        for change in changes:
            if self._namespace in {None, change.obj["metadata"].get("namespace")}:
                self._tell(change.kind, change.obj)
            self._version = change.version

    def _catch_up(self) -> None:
        self._version, objects = self._read()
        present = {obj["metadata"]["uid"]: obj for obj in objects}
        for uid in self._told.keys() - present.keys():
            self._tell("DELETED", self._told[uid])
        for uid, obj in present.items():
            known = self._told.get(uid)
            if known is None:
                self._tell("ADDED", obj)
            elif known is not obj:
                self._tell("MODIFIED", obj)

    def _tell(self, kind: str, obj: Obj) -> None:
        if kind == "DELETED":
            self._told.pop(obj["metadata"]["uid"], None)
        else:
            self._told[obj["metadata"]["uid"]] = obj
        self._pending.append((kind, obj))
