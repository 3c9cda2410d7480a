"""What is on its way out of a connection: sealed packets, one behind the other, and behind them
data of one channel that is being gathered into the next.

What a flow sends piece by piece in one turn, as the super-packets of a TUN, makes fewer packets so.
Nothing may be sealed past what is being gathered: the nonces count the packets in their order.
"""

from __future__ import annotations

from ktnet.stream.scratch import PACKET_START, find_scratch
from ktnet.wire.sshrecord import (
    DATA_OFFSET,
    OVERHEAD_BYTES,
    PAYLOAD_OFFSET,
    Sealer,
    put_data_header,
    put_window_adjust,
)
from ktnet.wire.window import PACKET_BYTES

BATCH_BYTES = 256 * 1024
"""Sealed bytes that go out at once, and not at the end of the turn."""

WHOLE_BYTES = 96 * 1024
"""Data of more than that makes a packet by itself: copying it costs as much as that saves."""


class Outbox:
    """To be emptied, before anything more is added, whenever BATCH_BYTES are sealed."""

    def __init__(self) -> None:
        # So much at most, one packet that is being gathered, and one that has it sealed.
        self._buffer = bytearray(BATCH_BYTES + 2 * (DATA_OFFSET + PACKET_BYTES + OVERHEAD_BYTES))
        self._view = memoryview(self._buffer)
        self.count = 0
        """Of what has been added since it was emptied."""
        self.sealed_bytes = 0
        self.gathered_bytes = 0
        self.uncounted_bytes = 0
        """Sealed here, and to be counted towards the next renewal of the keys."""
        self._number = 0
        self._sealer: Sealer | None = None

    def add_data(self, sealer: Sealer, number: int, data: memoryview, most_bytes: int) -> None:
        """Data for the peer's channel `number`, at most PACKET_BYTES; in one packet with what is
        being gathered if that makes no more than `most_bytes`."""
        self.count += 1
        data_bytes = len(data)
        gathered_bytes = self.gathered_bytes
        if gathered_bytes:
            if number == self._number and gathered_bytes + data_bytes <= most_bytes:
                self._gather(data, data_bytes)
                return
            self.close_packet()
        is_whole = data_bytes > WHOLE_BYTES
        if is_whole and (scratch := find_scratch(data)) is not None:
            payload_bytes = put_data_header(scratch, PACKET_START, number, data_bytes)
            self._seal(sealer, scratch.whole, PACKET_START, payload_bytes)
            return
        self._number, self._sealer = number, sealer
        self._gather(data, data_bytes)
        if is_whole:
            self.close_packet()

    def _gather(self, data: memoryview, data_bytes: int) -> None:
        begin = self.sealed_bytes + DATA_OFFSET + self.gathered_bytes
        self._view[begin : begin + data_bytes] = data
        self.gathered_bytes += data_bytes

    def close_packet(self) -> None:
        """Seal what is being gathered: something else comes next."""
        if self.gathered_bytes:
            assert self._sealer is not None  # noqa: S101  (has come with the data)
            count, self.gathered_bytes = self.gathered_bytes, 0
            payload_bytes = put_data_header(self._buffer, self.sealed_bytes, self._number, count)
            self._seal(self._sealer, self._view, self.sealed_bytes, payload_bytes)

    def add_window_adjust(self, sealer: Sealer, number: int, more_bytes: int) -> None:
        """The peer may send so many bytes more on its channel `number`."""
        self.count += 1
        self.close_packet()
        payload_bytes = put_window_adjust(self._buffer, self.sealed_bytes, number, more_bytes)
        self._seal(sealer, self._view, self.sealed_bytes, payload_bytes)

    def add_payload(self, sealer: Sealer, payload: bytes) -> None:
        """Any other message, at most PACKET_BYTES."""
        self.count += 1
        self.close_packet()
        begin = self.sealed_bytes + PAYLOAD_OFFSET
        self._view[begin : begin + len(payload)] = payload
        self._seal(sealer, self._view, self.sealed_bytes, len(payload))

    def _seal(self, sealer: Sealer, view: memoryview, start: int, payload_bytes: int) -> None:
        before = self.sealed_bytes
        self.sealed_bytes = sealer.seal(view, start, payload_bytes, self._view, before)
        self.uncounted_bytes += self.sealed_bytes - before

    def add_sealed(self, data: bytes) -> bool:
        """A packet that somebody else has sealed, after `close_packet`; False: there is no room."""
        end = self.sealed_bytes + len(data)
        if end > BATCH_BYTES + PACKET_BYTES:
            return False
        self._view[self.sealed_bytes : end] = data
        self.sealed_bytes = end
        self.count += 1
        return True

    def take(self) -> memoryview:
        """All there is, sealed; valid until something is added."""
        self.close_packet()
        taken_bytes, self.sealed_bytes, self.count = self.sealed_bytes, 0, 0
        return self._view[:taken_bytes]
