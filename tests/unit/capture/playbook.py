"""A peer for the terminator: segments in positions of its own, and what comes back to them."""

from __future__ import annotations

from ktnet.capture.budget import Budget
from ktnet.capture.commands import Command, Send
from ktnet.capture.tcp import Terminator
from ktnet.wire.tcp import ACK, Segment, SynOptions

PEER_SEQ = 0xFFFFFF00  # both wrap after a few hundred bytes
OUR_SEQ = 0xFFFFFE00
MSS = 1000
WINDOW = 500  # announced; 64,000 bytes with the shift
SHIFT = 7


class Play:
    """A terminator and the time; positions count from either SYN, so the first byte is 1."""

    def __init__(
        self,
        *,
        mss: int | None = MSS,
        shift: int | None = SHIFT,
        sack: bool = False,
        budget: Budget | None = None,
    ) -> None:
        self.budget = budget or Budget()
        self.now_s = 1000.0
        options = SynOptions(mss, shift, sack)
        self.terminator = Terminator(PEER_SEQ, options, OUR_SEQ, self.budget, self.now_s)

    def opened(self) -> Play:
        """After the handshake."""
        self.flush()
        assert self.gets(ACK, 1, 1) is None
        assert self.flush() == []
        return self

    def gets(
        self,
        flags: int,
        seq: int,
        ack: int,
        payload: bytes = b"",
        *,
        window: int = WINDOW,
    ) -> bytes | None:
        """The terminator receives a segment; returns what it hands to the far side at once."""
        data = self.terminator.segment_received(
            Segment(
                40000,
                80,
                (PEER_SEQ + seq) & 0xFFFFFFFF,
                (OUR_SEQ + ack) & 0xFFFFFFFF,
                flags,
                window,
                memoryview(b""),
                memoryview(payload),
            ),
            self.now_s,
        )
        return None if data is None else bytes(data)

    def flush(self) -> list[Command]:
        return self.terminator.flush(self.now_s)

    def sends(self) -> list[tuple[int, int, int, bytes]]:
        """Flushes; what was sent as (flags, position, acknowledged position, payload)."""
        return [brief(command) for command in self.flush() if isinstance(command, Send)]

    def waits(self, seconds: float) -> None:
        self.now_s += seconds

    def times_out(self) -> None:
        """Let the time go on to the deadline."""
        deadline_s = self.terminator.deadline_s
        assert deadline_s is not None
        self.now_s = max(self.now_s, deadline_s)
        self.terminator.time_out(self.now_s)


def brief(send: Send) -> tuple[int, int, int, bytes]:
    payload = b"".join(send.payload)
    assert len(payload) == send.payload_bytes
    position = ((send.seq - OUR_SEQ + 2**31) & 0xFFFFFFFF) - 2**31
    acknowledged = ((send.ack - PEER_SEQ + 2**31) & 0xFFFFFFFF) - 2**31
    return send.flags, position, acknowledged, payload
