"""When the carrier below all flows has more than it can send: who waits, and whose turn is next.

SSH has windows for each channel but none for the connection: without this, every flow's whole
window would pile up in the memory of the transport below.
"""

from __future__ import annotations

from typing import Protocol

HIGH_BYTES = 512 * 1024
"""Unsent bytes in the transport at which flows are held back: enough to keep a fast path busy
for a turn of the event loop, and under a second's worth at 5 Mbit/s."""

LOW_BYTES = 128 * 1024
"""Unsent bytes at which they go on: one packet, so the path does not run dry meanwhile."""


class Waiting(Protocol):
    """A sender that was held back."""

    def carrier_released(self) -> None:
        """Send again; may well hold up the carrier again."""


class Congestion:
    """One for each connection. Only senders that sent while it was congested are held back."""

    def __init__(self) -> None:
        self.congested = False
        self._waiting: dict[Waiting, None] = {}

    def hold(self) -> None:
        """The transport's buffer is full."""
        self.congested = True

    def release(self) -> None:
        """The transport's buffer has drained: let the senders go on in the order they came.

        A sender that fills the buffer again stops the round, and goes to its end.
        """
        self.congested = False
        while self._waiting and not self.congested:
            first = next(iter(self._waiting))
            del self._waiting[first]
            first.carrier_released()

    def wait(self, sender: Waiting) -> None:
        """Have `sender` told when it may go on."""
        self._waiting[sender] = None

    def forget(self, sender: Waiting) -> None:
        """`sender` is gone."""
        self._waiting.pop(sender, None)
