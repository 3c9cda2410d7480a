"""How long to wait before the tunnel is dialled again: pure."""

from __future__ import annotations

FIRST_S, LONGEST_S = 0.25, 10.0
"""What the second attempt waits, and the most that any does; doubled from one to the other."""

STABLE_S = 10.0
"""A connection that lived so long is worth a quick attempt again; one that broke sooner is not:
whatever ends it at once must not be hammered."""


class Backoff:
    """Delays between attempts. Times are of one clock that only goes forward, in seconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._connected_s: float | None = None

    def connected(self, now_s: float) -> None:
        """The tunnel is up."""
        self._connected_s = now_s

    def broke(self, now_s: float) -> None:
        """It was lost."""
        if self._connected_s is not None and now_s - self._connected_s >= STABLE_S:
            self._failures = 0
        self._connected_s = None

    def next_delay_s(self, dice: float) -> float:
        """Before the next attempt; nothing before the first. `dice` is evenly spread over 0 to 1:
        half of the delay is left to it, so that many clients of one outage don't come as one."""
        longest_s = min(LONGEST_S, FIRST_S * 2.0 ** (self._failures - 1)) if self._failures else 0.0
        self._failures = min(self._failures + 1, 32)
        return longest_s * (1 + dice) / 2
