"""Bytes that came ahead of missing ones, kept until those have been sent again.

Something is missing only where the device's queue overflowed, or where the peer is a machine
behind this one. Then the rest of a window has usually come, and without keeping it and saying so
(SACK) the peer would go through its slow start for each overflow.
"""

from __future__ import annotations

LARGEST_BYTES = 1024 * 1024
"""A whole window, usually."""

PIECE_LIMIT = 1024
"""However small a peer makes them, so that no peer makes the search through them long."""

RANGE_LIMIT = 4
"""As many as fit into the options of a header (RFC 2018 section 3)."""


class Reassembly:
    """Pieces by their position."""

    __slots__ = ("_newest", "_pieces", "held_bytes")

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._newest = 0
        self.held_bytes = 0

    def add(self, position: int, data: memoryview) -> int:
        """Keep a piece, unless it is there or there is no room; returns the growth in bytes."""
        known = self._pieces.get(position, b"")
        growth = len(data) - len(known)
        if growth <= 0 or self.held_bytes + growth > LARGEST_BYTES:
            return 0
        if not known and len(self._pieces) >= PIECE_LIMIT:
            return 0
        self._pieces[position] = bytes(data)
        self._newest = position
        self.held_bytes += growth
        return growth

    def take(self, position: int) -> list[bytes]:
        """What is no longer ahead of anything, `position` being the next byte expected."""
        taken: list[bytes] = []
        for start in sorted(self._pieces):
            if start > position:
                break
            piece = self._pieces.pop(start)
            self.held_bytes -= len(piece)
            new = piece[position - start :]
            if new:
                taken.append(new)
                position += len(new)
        return taken

    def ranges(self) -> list[tuple[int, int]]:
        """What is there, first the range with the newest piece (RFC 2018 section 4)."""
        merged: list[tuple[int, int]] = []
        for start in sorted(self._pieces):
            end = start + len(self._pieces[start])
            if merged and start <= merged[-1][1]:
                first, last = merged[-1]
                merged[-1] = first, max(last, end)
            else:
                merged.append((start, end))
        merged.sort(key=lambda span: not span[0] <= self._newest < span[1])
        return merged[:RANGE_LIMIT]
