"""Memory for bytes on their way through all flows, so that a thousand stalled ones stay small."""

from __future__ import annotations

LARGEST_SHARE_BYTES = 1024 * 1024
"""For one flow in one direction: 16 super-packets. The way to the application is some turns of the
event loop long, so more gives no throughput (the far side has windows of its own for its way),
and less keeps many uploads within the device's queue, which drops what it can't hold."""

SMALLEST_SHARE_BYTES = 64 * 1024
"""One super-packet: less would make every packet small."""

TOTAL_BYTES = 64 * 1024 * 1024
"""At which every flow gets the smallest share."""

_FRACTION = TOTAL_BYTES // LARGEST_SHARE_BYTES


class Budget:
    """Counts the bytes that all flows hold; the fewer are left, the less each may hold."""

    __slots__ = ("held_bytes",)

    def __init__(self) -> None:
        self.held_bytes = 0

    def share(self) -> int:
        """How many bytes one flow may hold in one direction at the moment."""
        left = (TOTAL_BYTES - self.held_bytes) // _FRACTION
        return max(SMALLEST_SHARE_BYTES, min(LARGEST_SHARE_BYTES, left))

    def is_overdrawn(self) -> bool:
        """Whether flows hold twice of what was meant, having been promised it when it was free."""
        return self.held_bytes > 2 * TOTAL_BYTES
