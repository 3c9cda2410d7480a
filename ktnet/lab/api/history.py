"""What happened, in order: the log from which all watches are fed. Pure.

Each change has a resourceVersion of its own, counted over all resources. Only the newest changes
are kept: who asks for older ones is told so (410 Gone), as by a real API server after etcd's
compaction.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ktnet.lab.api.errors import Obj, expired

UNCACHED = "events"
"""What a real API server watches in etcd itself, which says so in other words."""

KEPT = 1000
"""Changes of each resource: minutes of a busy lab, and a few MB at most."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write: `kind` is ADDED, MODIFIED or DELETED; `before` is None for ADDED."""

    version: int
    kind: str
    obj: Obj
    before: Obj | None = None


class History:
    """The newest changes of each resource."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._changes: dict[str, deque[Change]] = {}
        self._forgotten: dict[str, int] = {}

    def append(self, plural: str, change: Change) -> None:
        changes = self._changes.setdefault(plural, deque())
        changes.append(change)
        if len(changes) > self._kept:
            self._forgotten[plural] = changes.popleft().version

    def since(self, plural: str, version: int) -> list[Change]:
        """All changes after that resourceVersion; raises ApiError 410 where some are forgotten."""
        forgotten = self._forgotten.get(plural, 0)
        if version < forgotten and plural == UNCACHED:
            raise expired("The resourceVersion for the provided watch is too old.")
        if version < forgotten:
            raise expired(f"too old resource version: {version} ({forgotten})")
        newer: list[Change] = []
        for change in reversed(self._changes.get(plural, ())):
            if change.version <= version:
                break
            newer.append(change)
        newer.reverse()
        return newer

    def compact(self, version: int) -> None:
        """Forgets all changes up to that resourceVersion."""
        for plural, changes in self._changes.items():
            while changes and changes[0].version <= version:
                self._forgotten[plural] = changes.popleft().version
