"""What a session has told its user until now: its steps, its breaks, its warnings."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MOST = 200
MOST_CHARACTERS = 300
"""Of one; messages of a cluster may be long."""


class Events:
    """A ring; each has a number, so that who asks again can tell which are new."""

    def __init__(self) -> None:
        self._count = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST)

    def add(self, kind: str, text: str) -> None:
        """Note one: a "step", a "note" or "ready"."""
        self._count += 1
        self._events.append(
            {
                "number": self._count,
                "at_s": round(time.time(), 3),
                "kind": kind,
                "text": text[:MOST_CHARACTERS],
            }
        )

    def describe(self, after: int) -> list[dict[str, Any]]:
        """Those with a higher number, as JSON, the oldest first; `at_s` is Unix time."""
        return [event for event in self._events if event["number"] > after]


class _Handler(logging.Handler):
    def __init__(self, events: Events) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        self._events.add("note", record.getMessage())


@contextmanager
def note_warnings(events: Events) -> Iterator[None]:
    """What our parts warn of in the log is an event too, until the context is left."""
    handler, logger = _Handler(events), logging.getLogger("ktnet")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
