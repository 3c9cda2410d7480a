"""The half of a TCP connection that sends bytes to the application.

Positions are counted from our SYN as plain integers that never wrap: 0 is the SYN itself, 1 the
first byte, the FIN takes the one after the last. There is no congestion control: the peer is this
machine's kernel, and the device between delivers at once. Something is lost only where the
kernel has no memory for it, so all that is needed is to send the first packet again that is
missing, then the next (as RFC 6582, but without windows of its own).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ktnet.capture.budget import Budget
from ktnet.capture.commands import Buffer
from ktnet.wire.tcp import FIN, HEADER_BYTES, PSH, SYN, sequence_add, sequence_delta

LARGEST_PAYLOAD_BYTES = 0xFFFF - 20 - HEADER_BYTES
"""Of a super-packet: IPv4 counts 65,535 bytes, headers included."""

LARGEST_BUFFER_COUNT = 64
"""Of one packet: one write of the kernel takes 1,024 (IOV_MAX), and copying beats so many."""

FIRST_TIMEOUT_S = 0.4
"""Until something is sent again: Linux delays an ACK by 200 ms at most (TCP_DELACK_MAX)."""

LONGEST_TIMEOUT_S = 5.0
"""The timeout doubles up to this."""

DUPLICATE_ACKS = 3
"""RFC 5681 section 3.2."""

UNANSWERED_LIMIT = 8
"""So many packets in a row without an answer: there is no peer any more. By the timeouts above
that takes 20 s, and the peer is this machine's own kernel."""


class Outgoing(NamedTuple):
    """A packet that has been sent and may have to be sent again."""

    start: int
    end: int
    flags: int
    payload: list[Buffer]

    @property
    def payload_bytes(self) -> int:
        """Without the sequence numbers of SYN and FIN."""
        return self.end - self.start - bool(self.flags & (SYN | FIN))


class SendingHalf:
    """Bytes for the application: not yet sent, sent, acknowledged."""

    __slots__ = (
        "_budget",
        "_duplicate_acks",
        "_held_bytes",
        "_in_flight",
        "_largest_packet",
        "_largest_window",
        "_mss",
        "_recover",
        "_resend_due",
        "_right_edge",
        "_seq_base",
        "_shift",
        "_timeout_s",
        "_unsent",
        "_unsent_bytes",
        "acknowledged",
        "deadline_s",
        "end_queued",
        "end_sent",
        "probe_due",
        "sent",
        "unanswered",
    )

    def __init__(self, initial_seq: int, budget: Budget, *, mss: int, peer_shift: int) -> None:
        """`mss` in bytes; `peer_shift` is the scale of the windows that the peer announces."""
        self._budget = budget
        self._seq_base = initial_seq
        self._mss = mss
        self._largest_packet = max(mss, LARGEST_PAYLOAD_BYTES // mss * mss)
        self._shift = peer_shift
        self._largest_window = 0
        self._right_edge = 1
        self._unsent: deque[Buffer] = deque()
        self._unsent_bytes = 0
        self._in_flight: deque[Outgoing] = deque()
        self._held_bytes = 0
        self._duplicate_acks = 0
        self._recover = -1
        self._resend_due = False
        self._timeout_s = FIRST_TIMEOUT_S
        self.acknowledged = 0
        self.sent = 0
        self.end_queued = False
        self.end_sent = False
        self.deadline_s: float | None = None
        self.probe_due = False
        self.unanswered = 0

    @property
    def held_bytes(self) -> int:
        """Not yet acknowledged, sent or not."""
        return self._held_bytes

    @property
    def next_seq(self) -> int:
        """The sequence number of a packet without payload."""
        return self.seq(self.sent)

    def seq(self, position: int) -> int:
        """The sequence number of a position."""
        return sequence_add(self._seq_base, position)

    def position(self, ack: int) -> int:
        """The position that an acknowledgement number means, which may be nonsense."""
        return self.acknowledged + sequence_delta(ack, self._seq_base + self.acknowledged)

    # -- from the far side -----------------------------------------------------------------

    def queue(self, data: bytes) -> None:
        """Have `data` sent as the window allows."""
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        self._held_bytes += len(data)
        self._budget.held_bytes += len(data)

    def queue_end(self) -> None:
        """Have a FIN sent behind everything."""
        self.end_queued = True

    def discard(self) -> None:
        """Forget all that is held."""
        self._budget.held_bytes -= self._held_bytes
        self._held_bytes = self._unsent_bytes = 0
        self._unsent.clear()
        self._in_flight.clear()
        self.deadline_s = None

    # -- from the peer ---------------------------------------------------------------------

    def may_be_acknowledged(self, position: int) -> bool:
        """Whether an honest peer may say so (RFC 5961 section 5.2): not what was never sent, and
        nothing older than a window."""
        oldest = max(1, self.acknowledged - self._largest_window)
        return oldest <= position <= self.sent

    def acknowledge(self, position: int, window: int, *, carries_data: bool, now_s: float) -> None:
        """An acceptable segment's acknowledgement of all before `position`, and its window.

        `position` has passed `may_be_acknowledged`; `window` is as in the header.
        """
        self.unanswered = 0
        if position < self.acknowledged:
            return
        window <<= self._shift
        right_edge = position + window
        self._largest_window = max(self._largest_window, window)
        if position > self.acknowledged:
            self._advance(position, now_s)
        elif self._in_flight and right_edge == self._right_edge and not carries_data:
            self._duplicate_acks += 1
            if self._duplicate_acks == DUPLICATE_ACKS and position > self._recover:
                self._recover = self.sent
                self._resend_due = True
        if not self._in_flight:  # what ran was the time until the next window probe
            self.deadline_s = None
            if right_edge > self.sent:
                self._timeout_s = FIRST_TIMEOUT_S
        self._right_edge = right_edge

    def _advance(self, position: int, now_s: float) -> None:
        self.acknowledged = position
        self._duplicate_acks = 0
        self._timeout_s = FIRST_TIMEOUT_S
        in_flight = self._in_flight
        freed = 0
        while in_flight and in_flight[0].end <= position:
            freed += in_flight.popleft().payload_bytes
        self._held_bytes -= freed
        self._budget.held_bytes -= freed
        if position < self._recover:
            self._resend_due = bool(in_flight)
        self.deadline_s = now_s + self._timeout_s if in_flight else None

    # -- time ------------------------------------------------------------------------------

    def time_out(self, now_s: float) -> None:
        """`deadline_s` has passed: send the first packet again, or ask for the peer's window."""
        self.unanswered += 1
        self._timeout_s = min(2 * self._timeout_s, LONGEST_TIMEOUT_S)
        self.deadline_s = now_s + self._timeout_s
        if self._in_flight:
            self._recover = self.sent
            self._resend_due = True
        else:
            self.probe_due = True

    # -- to the peer -----------------------------------------------------------------------

    def send_syn(self, now_s: float) -> None:
        """Have our SYN sent."""
        self._sent(Outgoing(0, 1, SYN, []), now_s)
        self._resend_due = True

    def send_again(self) -> None:
        """The peer shows that it hasn't got the first packet that is on its way."""
        self._resend_due = True

    def is_through(self) -> bool:
        """Whether the peer has acknowledged everything, our FIN included."""
        return self.end_sent and self.acknowledged == self.sent

    def take_packets(self, now_s: float) -> list[Outgoing]:
        """What is to be sent now: again, and new as far as the window reaches."""
        packets: list[Outgoing] = []
        if self._resend_due:
            self._resend_due = False
            if self._in_flight:
                packets.append(self._in_flight[0])
        if not self.acknowledged:
            return packets  # nothing goes out before our SYN is answered
        while self._unsent_bytes:
            room = self._right_edge - self.sent
            length = min(self._unsent_bytes, self._largest_packet, room)
            if length <= 0 or (length < self._mss and length == room and self._in_flight):
                break
            packets.append(self._send_data(length, now_s))
        if self.end_queued and not self._unsent_bytes and not self.end_sent:
            self.end_sent = True
            packets.append(self._sent(Outgoing(self.sent, self.sent + 1, FIN, []), now_s))
        if self._unsent_bytes and self.deadline_s is None:
            self.deadline_s = now_s + self._timeout_s  # the window is closed: probe
        return packets

    def _send_data(self, length: int, now_s: float) -> Outgoing:
        payload: list[Buffer] = []
        missing = length
        while missing:
            chunk = self._unsent.popleft()
            if len(chunk) > missing:
                view = memoryview(chunk)
                self._unsent.appendleft(view[missing:])
                chunk = view[:missing]
            payload.append(chunk)
            missing -= len(chunk)
        if len(payload) > LARGEST_BUFFER_COUNT:
            payload = [b"".join(payload)]
        self._unsent_bytes -= length
        flags = 0 if self._unsent_bytes else PSH
        return self._sent(Outgoing(self.sent, self.sent + length, flags, payload), now_s)

    def _sent(self, packet: Outgoing, now_s: float) -> Outgoing:
        self._in_flight.append(packet)
        self.sent = packet.end
        if self.deadline_s is None:
            self.deadline_s = now_s + self._timeout_s
        return packet
