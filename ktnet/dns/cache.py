"""Answers that may be given again. Pure: what time it is, callers say."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace

from ktnet.dns.lifetime import build_aged
from ktnet.dns.messages import Answer

MOST_ENTRIES = 4096
MOST_BYTES = 8 << 20
"""What is beyond either makes room by itself: the one that was used longest ago goes."""

_ENTRY_BYTES = 800
_RECORD_BYTES = 200
"""What CPython takes for an entry with its key, and for where each record lies."""


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer
    stored_s: float
    expires_s: float


class Cache:
    """Answers by key, each until it expires or is the one used longest ago of too many."""

    def __init__(self, *, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """What all entries take, about."""
        return self._bytes

    def get(self, key: Hashable, now_s: float) -> Answer | None:
        """The answer with its TTLs counted down; None where there is none (any more)."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now_s >= entry.expires_s:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        age_s = math.floor(now_s - entry.stored_s)
        return (
            replace(entry.answer, wire=build_aged(entry.answer, age_s)) if age_s else entry.answer
        )

    def put(self, key: Hashable, answer: Answer, now_s: float, lifetime_s: float) -> None:
        """Keep an answer for so long."""
        self.drop(key)
        if lifetime_s <= 0:
            return
        self._entries[key] = _Entry(answer, now_s, now_s + lifetime_s)
        self._bytes += _cost(answer)
        while len(self._entries) > self._most_entries or self._bytes > self._most_bytes:
            self.drop(next(iter(self._entries)))

    def drop(self, key: Hashable) -> None:
        """Forget one answer."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _cost(entry.answer)

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._bytes = 0


def _cost(answer: Answer) -> int:
    return _ENTRY_BYTES + _RECORD_BYTES * len(answer.records) + len(answer.wire)
