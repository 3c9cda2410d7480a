"""How much a channel may have on its way: receive windows out of one budget, and packet sizes.

A window is memory: a peer may fill it while our side of the flow does not read. Few flows get
windows large enough for a fast and distant cluster; a thousand flows share what is left.
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


class WindowBudget:
    """hands out receive windows: a twelfth of what is left, within the two limits above."""

    def __init__(self) -> None:
        self._left_bytes = TOTAL_BYTES

    def take(self) -> int:
        """The window (bytes) for a new channel; `give_back` it when the channel is gone."""
        window_bytes = max(SMALLEST_BYTES, min(LARGEST_BYTES, self._left_bytes // _SHARES))
        self._left_bytes -= window_bytes
        return window_bytes

    def give_back(self, window_bytes: int) -> None:
        """Return what `take` gave."""
        self._left_bytes += window_bytes
