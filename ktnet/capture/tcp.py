"""The local end of one TCP connection, as its peer (an application's socket) sees it: no I/O.

Segments and the far side's doings go in with the time; what is to be done about them comes out of
`flush`, which is called once after any number of them: so one packet carries data, the newest
acknowledgement and the newest window together. Only bytes for the far side come out at once,
since they lie in a buffer that the next packet overwrites.

Rules of RFC 9293 section 3.10.7.4, with RFC 5961 against blind resets and SYNs. Left out, since
the peer is a kernel on the same machine behind a device that seldom loses and never reorders:
congestion control, round-trip estimates, timestamps, reading the peer's selective acknowledgements.
"""

from __future__ import annotations

import enum

from ktnet.capture.budget import Budget
from ktnet.capture.commands import Command, Deliver, FarSide, Finished, Send
from ktnet.capture.receiving import WINDOW_SHIFT, ReceivingHalf
from ktnet.capture.sending import UNANSWERED_LIMIT, Outgoing, SendingHalf
from ktnet.wire.tcp import (
    ACK,
    DEFAULT_MSS,
    FIN,
    RST,
    SYN,
    Segment,
    SynOptions,
    build_sack_option,
    build_syn_options,
    segment_length,
)

OUR_MSS = 0xFFFF - 40
"""The largest that fits: the peer stays below its device's MTU by itself, and whatever that is
needs not be known here."""

SMALLEST_MSS = 88
"""A peer that announces less is taken to have meant this, as Linux does (TCP_MIN_MSS): every
super-packet is cut into pieces of this size, and tiny ones would cost the machine dearly."""

TIME_WAIT_S = 1.0
"""How long a finished connection answers a repeated FIN, whose ACK was lost: several times the
peer's first timeout. The four minutes of RFC 9293 section 3.4.2 are for networks that deliver old
packets late, which a device within one machine doesn't."""

IDLE_S = 60.0
"""After so long a silence the peer is asked whether it is still there: a socket whose last RST was
lost would otherwise be waited for for ever."""

_DUPLICATE_ACKS_AT_ONCE = 3
"""As many as make the peer send again without waiting (RFC 5681 section 3.2)."""


class Phase(enum.Enum):
    """How far the connection is, besides what its halves know."""

    SYN_RECEIVED = enum.auto()
    OPEN = enum.auto()
    TIME_WAIT = enum.auto()
    """Both halves have ended; the far side may still have to take its bytes."""
    RESETTING = enum.auto()
    """It is over, and the peer has to be told."""
    RESET = enum.auto()
    """It is over, and the peer knows or won't ask."""


_OVER = frozenset({Phase.RESETTING, Phase.RESET})


def largest_payload(options: SynOptions) -> int:
    """Bytes that a segment to the peer whose SYN had these options may carry."""
    return max(SMALLEST_MSS, min(options.mss or DEFAULT_MSS, OUR_MSS))


class Terminator:
    """One connection, from the answer to the SYN to the last packet."""

    __slots__ = (
        "_far_over",
        "_far_paused",
        "_heard_s",
        "_keepalive_due",
        "_options",
        "_peer_ended_first",
        "_receiving",
        "_sending",
        "_share",
        "_time_wait_until_s",
        "phase",
    )

    def __init__(
        self, syn_seq: int, options: SynOptions, initial_seq: int, budget: Budget, now_s: float
    ) -> None:
        """`syn_seq` and `options` are the peer's SYN's, `initial_seq` is ours (unguessable)."""
        scaling = options.window_shift is not None
        self._options = SynOptions(
            OUR_MSS, WINDOW_SHIFT if scaling else None, options.sack_permitted
        )
        self._receiving = ReceivingHalf(syn_seq, budget, window_scaling=scaling)
        self._sending = SendingHalf(
            initial_seq,
            budget,
            mss=largest_payload(options),
            peer_shift=options.window_shift or 0,
        )
        self._share = budget.share
        self.phase = Phase.SYN_RECEIVED
        self._sending.send_syn(now_s)
        self._far_paused = False
        self._far_over = False
        self._keepalive_due = False
        self._peer_ended_first = False
        self._heard_s = now_s
        self._time_wait_until_s: float | None = None

    # -- packets of the application ----------------------------------------------------------

    def segment_received(self, segment: Segment, now_s: float) -> memoryview | None:
        """A segment of this connection; returns bytes that go to the far side at once, if any."""
        if self.phase in _OVER:
            return None
        self._heard_s = now_s
        receiving, sending = self._receiving, self._sending
        flags = segment.flags
        seq = segment.seq
        distance = 0 if seq == receiving.next_seq else receiving.distance(seq)
        if (distance or flags & (SYN | RST)) and not self._is_worth_reading(segment, distance):
            return None
        if not flags & ACK:
            return None
        position = sending.position(segment.ack)
        if not sending.may_be_acknowledged(position):
            receiving.ack_due = True
            return None
        fin = bool(flags & FIN)
        carries_data = fin or len(segment.payload) > 0
        sending.acknowledge(position, segment.window, carries_data=carries_data, now_s=now_s)
        if self.phase is Phase.SYN_RECEIVED:
            self.phase = Phase.OPEN
        if not carries_data:
            return None
        if fin:
            self._peer_ended_first = not sending.end_sent
        return receiving.accept(distance, segment.payload, fin=fin)

    def _is_worth_reading(self, segment: Segment, distance: int) -> bool:
        """The checks for a segment that isn't the next in order, or that carries SYN or RST."""
        receiving = self._receiving
        in_window = receiving.is_in_window(distance, segment_length(segment))
        if segment.flags & RST:
            if distance == 0:
                self._reset_by_peer()
            elif in_window:
                receiving.ack_due = True  # RFC 5961 section 3.2: a real peer repeats it aright
            return False
        if segment.flags & SYN:
            if self.phase is Phase.SYN_RECEIVED:
                self._sending.send_again()
            else:
                receiving.ack_due = True  # RFC 5961 section 4.2
            return False
        if not in_window:
            receiving.ack_due = True  # a keepalive, a window probe, or something sent again
        return in_window

    def _reset_by_peer(self) -> None:
        if self.phase is not Phase.TIME_WAIT:  # RFC 1337 section 3
            self.phase = Phase.RESET
            self._drop_everything()

    # -- the far side ------------------------------------------------------------------------

    def far_sent(self, data: bytes) -> None:
        """Bytes for the application."""
        if self.phase not in _OVER:
            self._sending.queue(data)

    def far_ended(self) -> None:
        """The far side sends no more."""
        self._sending.queue_end()

    def far_closed(self, *, reset: bool) -> None:
        """There is no far side any more; an orderly end needs the ends of both halves."""
        self._far_over = True
        self._sending.queue_end()
        if reset or not self._receiving.end_delivered:
            self.abort()

    def far_is_full(self, full: bool) -> None:
        """The far side takes nothing for now, or takes bytes again."""
        self._receiving.carrier_is_full = full

    def peer_forgot(self) -> None:
        """The peer has begun a new connection from the same port: this one is over for it."""
        if self.phase is not Phase.TIME_WAIT:
            self._reset_by_peer()

    def abort(self) -> None:
        """Reset the connection at both sides, as far as they aren't through with it."""
        if self.phase is Phase.TIME_WAIT:
            self.phase = Phase.RESET
            self._far_over = self._far_over or self._receiving.end_delivered
        elif self.phase not in _OVER:
            self.phase = Phase.RESETTING
        self._drop_everything()

    def _drop_everything(self) -> None:
        self._receiving.discard()
        self._sending.discard()

    @property
    def can_be_replaced(self) -> bool:
        """Whether a new SYN between the same ports can only mean a new connection."""
        return self.phase not in {Phase.OPEN, Phase.RESETTING}

    # -- time --------------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When `time_out` wants to be called; None: not at all."""
        if self.phase is Phase.TIME_WAIT:
            return self._time_wait_until_s
        return self._sending.deadline_s

    def time_out(self, now_s: float) -> None:
        """`deadline_s` has passed."""
        if self.phase is Phase.TIME_WAIT:
            self._time_wait_until_s = None
        else:
            self._sending.time_out(now_s)
            self._give_up_if_unanswered()

    def check_idle(self, now_s: float) -> None:
        """To be called now and then: ask a silent peer for a sign of life."""
        if self.phase is Phase.OPEN and now_s - self._heard_s > IDLE_S:
            self._sending.unanswered += 1
            self._keepalive_due = True
            self._give_up_if_unanswered()

    def _give_up_if_unanswered(self) -> None:
        if self._sending.unanswered > UNANSWERED_LIMIT:
            self.abort()

    # -- what is to be done ------------------------------------------------------------------

    def flush(self, now_s: float) -> list[Command]:
        """Everything that is due, in this order: far side, peer, end."""
        commands: list[Command] = []
        if self.phase not in _OVER:
            self._tell_far_side(commands)
            self._tell_peer(commands, now_s)
            self._check_end(commands, now_s)
            return commands
        if self.phase is Phase.RESETTING:
            seq, ack = self._sending.next_seq, self._receiving.next_seq
            commands.append(Send(RST | ACK, seq, ack, 0))
        if not self._far_over:
            commands.append(FarSide.RESET)
        commands.append(Finished(orderly=False))
        return commands

    def _tell_far_side(self, commands: list[Command]) -> None:
        receiving = self._receiving
        if self._far_over:
            return
        if not receiving.carrier_is_full:
            if not receiving.is_empty():
                commands.extend(Deliver(data) for data in receiving.take_queue())
            if receiving.end_received and not receiving.end_delivered:
                receiving.end_delivered = True
                commands.append(FarSide.END)
        held_bytes = self._sending.held_bytes
        if self._far_paused:
            if held_bytes < self._share() // 2:
                self._far_paused = False
                commands.append(FarSide.RESUME)
        elif held_bytes > self._share():
            self._far_paused = True
            commands.append(FarSide.PAUSE)

    def _tell_peer(self, commands: list[Command], now_s: float) -> None:
        receiving, sending = self._receiving, self._sending
        packets = sending.take_packets(now_s)
        acks = min(receiving.duplicate_acks_due, _DUPLICATE_ACKS_AT_ONCE)
        if not packets and not acks:
            acks = int(receiving.ack_due)
        probe = sending.probe_due or self._keepalive_due
        if not (packets or acks or probe):
            return
        receiving.ack_due = sending.probe_due = self._keepalive_due = False
        receiving.duplicate_acks_due = 0
        if self.phase is Phase.SYN_RECEIVED:
            commands.extend(self._syn_ack(packet) for packet in packets)
            return
        ack, window = receiving.next_seq, receiving.take_window()
        for packet in packets:
            seq = sending.seq(packet.start)
            payload, payload_bytes = packet.payload, packet.payload_bytes
            commands.append(Send(packet.flags | ACK, seq, ack, window, payload, payload_bytes))
        if acks:
            ranges = receiving.ranges_ahead() if self._options.sack_permitted else []
            options = build_sack_option(ranges)
            commands += [Send(ACK, sending.next_seq, ack, window, options=options)] * acks
        if probe:  # a byte that the peer has long had, which it must answer
            commands.append(Send(ACK, sending.seq(sending.acknowledged - 1), ack, window))

    def _syn_ack(self, packet: Outgoing) -> Send:
        options = build_syn_options(self._options)
        window = self._receiving.take_unscaled_window()
        seq, ack = self._sending.seq(packet.start), self._receiving.next_seq
        return Send(packet.flags | ACK, seq, ack, window, options=options)

    def _check_end(self, commands: list[Command], now_s: float) -> None:
        if self.phase is Phase.OPEN and self._receiving.end_received and self._sending.is_through():
            # Whose FIN came last has had it acknowledged: only the other may have to repeat.
            self.phase = Phase.TIME_WAIT
            self._time_wait_until_s = None if self._peer_ended_first else now_s + TIME_WAIT_S
        if self.phase is not Phase.TIME_WAIT or self._time_wait_until_s is not None:
            return
        if self._receiving.end_delivered:
            commands.append(Finished(orderly=True))
