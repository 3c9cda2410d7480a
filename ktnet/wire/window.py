"""How much a channel may have on its way: receive windows out of one budget, and packet sizes.

A window is memory: a peer may fill it while our side of the flow does not read, and what has been
promised can't be taken back. So channels begin with little, and those get more that use it up: a
hundred connections that are open and silent, as databases' pools are, cost the one that is busy
nothing.
"""

from __future__ import annotations

PACKET_BYTES = 254 * 1024
"""Largest CHANNEL_DATA that we take: what a packet costs beside its bytes is Python's. With all
around it, it stays below the 256 KiB that OpenSSH takes for a packet's most."""

INTERACTIVE_PACKET_BYTES = 128 * 1024
"""The largest, and the most that is taken at once, while somebody waits for answers: whoever comes
next waits until it has been dealt with, at both ends."""

LARGEST_BYTES = 4 * 1024 * 1024
"""250 ms at 100 Mbit/s with some to spare: the window is topped up when half of it is used."""

SMALLEST_BYTES = 128 * 1024
"""One packet while somebody waits."""

TOTAL_BYTES = 48 * 1024 * 1024
"""What all windows of a process together may take, the smallest ones apart."""

_SHARES = TOTAL_BYTES // LARGEST_BYTES

FIRST_BYTES = 1024 * 1024
"""The largest that a channel begins with whose window can grow: an answer that fits in it comes in
one round trip, however far the cluster is."""

GROWTH_BYTES = 48 * 1024 * 1024
"""What all windows of a connection together may grow by."""

BUSY_S = 1.0
"""A window that isn't used up in this time is no limit on any path."""


class WindowBudget:
    """Hands out receive windows: each a part of what is left, within limits."""

    def __init__(self) -> None:
        self._left_bytes = TOTAL_BYTES

    def take(self) -> int:
        """The window (bytes) for a new channel; `give_back` it when the channel is gone."""
        return self._take(self._left_bytes // _SHARES, LARGEST_BYTES)

    def take_first(self) -> int:
        """The same for a channel whose window can grow (`WindowGrowth`)."""
        return self._take(self._left_bytes * FIRST_BYTES // TOTAL_BYTES, FIRST_BYTES)

    def _take(self, share_bytes: int, most_bytes: int) -> int:
        window_bytes = max(SMALLEST_BYTES, min(most_bytes, share_bytes))
        self._left_bytes -= window_bytes
        return window_bytes

    def give_back(self, window_bytes: int) -> None:
        """Return what `take` gave."""
        self._left_bytes += window_bytes


class GrowthBudget:
    """What the windows of one connection may still grow by."""

    def __init__(self) -> None:
        self.left_bytes = GROWTH_BYTES


class WindowGrowth:
    """One window's growth: doubled as long as it is used up quickly, and there is budget for it."""

    __slots__ = ("_budget", "_grown_bytes", "_since_s", "_used_bytes", "window_bytes")

    def __init__(self, window_bytes: int, budget: GrowthBudget, now_s: float) -> None:
        """Of a window that begins with so many bytes."""
        self.window_bytes = window_bytes
        self._budget = budget
        self._grown_bytes = 0
        self._used_bytes = 0
        self._since_s = now_s

    def use(self, count: int, now_s: float) -> int:
        """So many bytes have come and been taken; by how many the window is to grow now."""
        self._used_bytes += count
        if self._used_bytes < self.window_bytes:
            return 0
        took_s, self._since_s = now_s - self._since_s, now_s
        self._used_bytes = 0
        if took_s > BUSY_S:
            return 0
        budget = self._budget
        share_bytes = budget.left_bytes // _SHARES
        more = min(self.window_bytes, LARGEST_BYTES - self.window_bytes, share_bytes)
        budget.left_bytes -= more
        self._grown_bytes += more
        self.window_bytes += more
        return more

    def end(self) -> None:
        """The channel is gone."""
        self._budget.left_bytes += self._grown_bytes
        self._grown_bytes = 0
