"""How many connections are being opened at once: each costs the far side a descriptor and a wait.

What is over the limits stands in line, its SYN unanswered, as with a full listen queue. One
destination that never answers thus holds up only itself.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Generic, TypeVar

OPENING_LIMIT = 1024
"""Of all destinations together."""

DESTINATION_LIMIT = 64
"""Of one destination."""

LINE_LIMIT = 4096
"""Who would stand behind so many isn't let in at all: the kernel will repeat the SYN."""

Applicant = TypeVar("Applicant", bound=Hashable)


class Turn(enum.Enum):
    """When an applicant may open its connection."""

    NOW = enum.auto()
    LATER = enum.auto()
    """It stands in line: some other's `leave` will name it."""
    NEVER = enum.auto()
    """There is no room even in the line."""


class Admission(Generic[Applicant]):
    """Who is opening, and who waits for it. All but those turned away must `leave` once."""

    def __init__(self) -> None:
        self._opening: dict[Hashable, int] = {}
        self._opening_total = 0
        self._lines: dict[Hashable, dict[Applicant, None]] = {}
        self._line_total = 0

    def apply(self, applicant: Applicant, destination: Hashable) -> Turn:
        """Ask to open a connection."""
        if destination not in self._lines and self._has_room(destination):
            self._let_in(destination)
            return Turn.NOW
        if self._line_total >= LINE_LIMIT:
            return Turn.NEVER
        self._lines.setdefault(destination, {})[applicant] = None
        self._line_total += 1
        return Turn.LATER

    def leave(self, applicant: Applicant, destination: Hashable) -> Applicant | None:
        """`applicant` is through, or gives up; returns who may open instead."""
        if applicant in self._lines.get(destination, ()):
            self._take_from_line(applicant, destination)
            return None
        self._opening_total -= 1
        self._opening[destination] -= 1
        if not self._opening[destination]:
            del self._opening[destination]
        return self._call_next()

    def _call_next(self) -> Applicant | None:
        """The first in line whose destination has room (at most 16 destinations have none)."""
        for destination, line in self._lines.items():
            if self._has_room(destination):
                applicant = next(iter(line))
                self._take_from_line(applicant, destination)
                self._let_in(destination)
                return applicant
        return None

    def _has_room(self, destination: Hashable) -> bool:
        if self._opening_total >= OPENING_LIMIT:
            return False
        return self._opening.get(destination, 0) < DESTINATION_LIMIT

    def _let_in(self, destination: Hashable) -> None:
        self._opening_total += 1
        self._opening[destination] = self._opening.get(destination, 0) + 1

    def _take_from_line(self, applicant: Applicant, destination: Hashable) -> None:
        line = self._lines[destination]
        del line[applicant]
        self._line_total -= 1
        if not line:
            del self._lines[destination]
