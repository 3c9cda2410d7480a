"""The half of a TCP connection that takes bytes from the application (RFC 9293 section 3.10.7.4).

Positions are counted from the peer's SYN as plain integers that never wrap: 0 is the SYN itself,
1 the first byte.
"""

from __future__ import annotations

from collections import deque

from ktnet.capture.budget import Budget
from ktnet.capture.reassembly import Reassembly
from ktnet.wire.tcp import sequence_add, sequence_delta

WINDOW_SHIFT = 7
"""We announce windows of up to 8 MiB, in steps of 128 bytes."""


class ReceivingHalf:
    """Bytes of the application: next expected, promised, and held because nobody takes them."""

    __slots__ = (
        "_ahead",
        "_budget",
        "_queue",
        "_queued_bytes",
        "_right_edge",
        "_shift",
        "ack_due",
        "carrier_is_full",
        "duplicate_acks_due",
        "end_delivered",
        "end_received",
        "next_seq",
        "position",
    )

    def __init__(self, initial_seq: int, budget: Budget, *, window_scaling: bool) -> None:
        """`initial_seq` is the peer's SYN's."""
        self._budget = budget
        self.next_seq = sequence_add(initial_seq, 1)
        """Of `position`: the acknowledgement number to send."""
        self._shift = WINDOW_SHIFT if window_scaling else 0
        self._right_edge = 1
        self._ahead: Reassembly | None = None  # hardly any connection ever needs one
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self.position = 1
        self.ack_due = False
        self.duplicate_acks_due = 0
        self.carrier_is_full = False
        self.end_received = False
        self.end_delivered = False

    def distance(self, seq: int) -> int:
        """How far a segment's first byte is ahead of the next one expected; negative: behind."""
        return sequence_delta(seq, self.next_seq)

    def is_in_window(self, distance: int, length: int) -> bool:
        """The test of RFC 9293 table 6: does any of the segment lie in what we promised?"""
        window = self._right_edge - self.position
        if length == 0:
            return 0 <= distance < window or distance == 0
        return distance < window and distance + length > 0

    def accept(self, distance: int, payload: memoryview, *, fin: bool) -> memoryview | None:
        """Take what is new; returns what goes to the far side at once, if any.

        The view is the caller's buffer: it is valid until that is used again.
        """
        if self.end_received:
            self.ack_due = True
            return None
        if distance > 0:
            self._keep_ahead(self.position + distance, payload)
            return None
        self.ack_due = True
        new = payload[-distance:] if distance < 0 else payload
        room = self._right_edge - self.position
        if len(new) > room:
            new = new[:room]
            fin = False
        waits = self.carrier_is_full or bool(self._queue)
        if waits and len(new):
            if self._budget.is_overdrawn():
                return None
            self._budget.held_bytes += len(new)
            self._put(bytes(new))
        self._advance(len(new) + fin)
        if fin:
            self.end_received = True
            self._drop_ahead()  # nothing can follow an end
        elif self._ahead is not None:
            self._close_gap(self._ahead)
        return new if len(new) and not waits else None

    def _keep_ahead(self, position: int, payload: memoryview) -> None:
        """Something before it is missing: ask for that."""
        self.duplicate_acks_due += 1
        if self._ahead is None:
            self._ahead = Reassembly()
        if not self._budget.is_overdrawn():
            room = self._right_edge - position
            self._budget.held_bytes += self._ahead.add(position, payload[:room])

    def _close_gap(self, ahead: Reassembly) -> None:
        """Move what isn't ahead any more behind what came just now."""
        held_before = ahead.held_bytes
        for piece in ahead.take(self.position):
            self._put(piece)
            self._advance(len(piece))
            held_before -= len(piece)
        self._budget.held_bytes -= held_before - ahead.held_bytes  # what had come twice
        if not ahead.held_bytes:
            self._ahead = None

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            self._budget.held_bytes -= self._ahead.held_bytes
            self._ahead = None

    def _put(self, data: bytes) -> None:
        self._queue.append(data)
        self._queued_bytes += len(data)

    def _advance(self, count: int) -> None:
        self.position += count
        self.next_seq = (self.next_seq + count) & 0xFFFFFFFF

    def ranges_ahead(self) -> list[tuple[int, int]]:
        """Sequence numbers of what came ahead of missing bytes: from, up to."""
        if self._ahead is None:
            return []
        return [
            (
                sequence_add(self.next_seq, start - self.position),
                sequence_add(self.next_seq, end - self.position),
            )
            for start, end in self._ahead.ranges()
        ]

    def take_queue(self) -> list[bytes]:
        """What waited for the carrier, now that it takes bytes again."""
        waiting = list(self._queue)
        self._queue.clear()
        self._budget.held_bytes -= self._queued_bytes
        self._queued_bytes = 0
        self.ack_due |= not self.end_received  # the window has grown
        return waiting

    def discard(self) -> None:
        """Forget everything that is held."""
        self._drop_ahead()
        self.take_queue()

    def is_empty(self) -> bool:
        """Whether nothing waits for the carrier."""
        return not self._queue

    def take_window(self) -> int:
        """The window for the next segment's header, which is hereby promised.

        A promise is never taken back (RFC 9293 section 3.8.6: a receiver should not shrink it).
        """
        promise = max(self._affordable(), self._right_edge) - self.position
        field = min(0xFFFF, (promise + (1 << self._shift) - 1) >> self._shift)
        self._right_edge = max(self._right_edge, self.position + (field << self._shift))
        return field

    def take_unscaled_window(self) -> int:
        """The window for a SYN-ACK's header, which is never scaled (RFC 7323 section 2.2)."""
        field = min(0xFFFF, self._budget.share())
        self._right_edge = max(self._right_edge, self.position + field)
        return field

    def _affordable(self) -> int:
        """The right edge of the window that the budget and the header's field allow."""
        room = max(0, self._budget.share() - self._queued_bytes)
        return self.position + min(room, 0xFFFF << self._shift)
