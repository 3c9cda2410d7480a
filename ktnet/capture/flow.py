"""One connection of an application, from its first SYN on: joins its TCP to the far side's flow.

The SYN is held until the far side has connected. What the far side calls here has its effects on
the far side in a later turn of the event loop only (`ktnet.wire.flow` demands it): it is noted, and
`flush` follows.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Protocol

from ktnet.capture.budget import Budget
from ktnet.capture.commands import Buffer, Command, Deliver, FarSide, Finished, Send
from ktnet.capture.counters import Counters
from ktnet.capture.frame import Endpoint, TcpFramer
from ktnet.capture.patience import Patience
from ktnet.capture.refusal import refuse_syn
from ktnet.capture.tcp import Terminator, largest_payload
from ktnet.wire.flow import Dialer, Flow, OpenFailure, Opening
from ktnet.wire.ipv4 import Ipv4Packet, format_ipv4
from ktnet.wire.tcp import SYN, Segment, parse_syn_options


class Surroundings(Protocol):
    """What all flows of a capture share."""

    dialer: Dialer
    budget: Budget
    counters: Counters
    icmp_errors: bool
    """Whether applications hear ICMP errors: a firewall of this machine may drop them."""

    def now_s(self) -> float:
        """The time, by a clock that only goes forward."""

    def write(self, headers: bytes, payload: Sequence[Buffer] = ()) -> None:
        """Give a frame to the device."""

    def flush_soon(self, flow: CapturedFlow) -> None:
        """Call `flow.flush` when this turn is over."""

    def settled(self, flow: CapturedFlow) -> None:
        """`flow` isn't being opened any more: another may be."""

    def forget(self, flow: CapturedFlow) -> None:
        """`flow` is over."""


class CapturedFlow:
    """The receiver of a far side's flow, and the owner of the terminator at the near side."""

    __slots__ = (
        "_began_s",
        "_far",
        "_framer",
        "_is_over",
        "_may_open",
        "_opening",
        "_options",
        "_patience",
        "_surroundings",
        "_syn_packet",
        "_syn_seq",
        "_target",
        "_terminator",
        "bytes_down",
        "bytes_up",
        "destination",
        "source",
    )

    def __init__(
        self,
        packet: Ipv4Packet,
        segment: Segment,
        target: tuple[str, int],
        surroundings: Surroundings,
    ) -> None:
        """`segment`, in `packet`, is the first SYN; `target` is what the far side connects to.

        Raises RemoteProtocolError where the SYN's options are garbage.
        """
        self._options = parse_syn_options(segment.options)
        self.source: Endpoint = (packet.source, segment.source_port)
        self.destination: Endpoint = (packet.destination, segment.destination_port)
        self._syn_packet = bytes(packet.whole)
        self._syn_seq = segment.seq
        self._target = target
        self._surroundings = surroundings
        self.bytes_up = 0
        """From the application to the far side, until now."""
        self.bytes_down = 0
        self._began_s = surroundings.now_s()
        self._patience = Patience(self._began_s)
        self._may_open = False
        self._opening: Opening | None = None
        self._far: Flow | None = None
        self._terminator: Terminator | None = None
        self._framer = TcpFramer(self.destination, self.source, largest_payload(self._options))
        self._is_over = False

    @property
    def bytes_carried(self) -> int:
        """Both ways, until now."""
        return self.bytes_up + self.bytes_down

    def describe(self) -> dict[str, Any]:
        """As JSON, for who looks on; `age_s` in seconds, from its first SYN on."""
        return {
            "source": [format_ipv4(self.source[0]), self.source[1]],
            "destination": [format_ipv4(self.destination[0]), self.destination[1]],
            "state": "opening" if self._terminator is None else "open",
            "age_s": round(self._surroundings.now_s() - self._began_s, 1),
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
        }

    # -- packets of the application ----------------------------------------------------------

    def gives_way_to(self, segment: Segment) -> bool:
        """Whether `segment` is the SYN of a new connection between the same ports."""
        if not segment.flags & SYN or segment.seq == self._syn_seq:
            return False
        return self._terminator is None or self._terminator.can_be_replaced

    def give_way(self) -> None:
        """A new connection between the same ports has begun."""
        if self._terminator is None:
            self._abandon()
        else:
            self._terminator.peer_forgot()

    def segment_received(self, segment: Segment) -> None:
        """A packet of this connection; `flush` must follow."""
        surroundings = self._surroundings
        if self._terminator is None:
            if segment.flags & SYN:
                self._patience.syn_repeated(surroundings.now_s())
            return
        data = self._terminator.segment_received(segment, surroundings.now_s())
        if data is not None and self._far is not None:
            surroundings.counters.bytes_up += len(data)
            self.bytes_up += len(data)
            self._far.write(data)

    # -- opening -----------------------------------------------------------------------------

    def may_open(self) -> None:
        """Its turn has come; `flush` must follow."""
        self._may_open = True

    def _open(self) -> None:
        origin = (format_ipv4(self.source[0]), self.source[1])
        self._opening = self._surroundings.dialer.open_tcp(*self._target, origin, self)

    def _abandon(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        self._surroundings.counters.flows_abandoned += 1
        self._end_unopened()

    def _end_unopened(self) -> None:
        self._is_over = True
        self._opening = None
        self._surroundings.settled(self)
        self._surroundings.forget(self)

    # -- the far side (ktnet.wire.flow.Receiver) -----------------------------------------------

    def opened(self, flow: Flow) -> None:
        """The far side has connected: answer the SYN."""
        surroundings = self._surroundings
        surroundings.counters.flows_open += 1
        self._opening = None
        self._far = flow
        self._terminator = Terminator(
            self._syn_seq,
            self._options,
            secrets.randbits(32),
            surroundings.budget,
            surroundings.now_s(),
        )
        surroundings.settled(self)
        surroundings.flush_soon(self)

    def open_failed(self, failure: OpenFailure) -> None:
        """The far side could not connect: say so in the application's own terms."""
        self._surroundings.counters.flows_failed += 1
        self._refuse(failure)
        self._end_unopened()

    def _refuse(self, failure: OpenFailure) -> None:
        errors = self._surroundings.icmp_errors
        frame = refuse_syn(self._syn_packet, failure, icmp_errors=errors)
        if frame is not None:
            self._surroundings.write(frame)

    def data_received(self, data: bytes) -> None:
        """Bytes for the application."""
        if self._terminator is not None and not self._is_over:
            self._surroundings.counters.bytes_down += len(data)
            self.bytes_down += len(data)
            self._terminator.far_sent(data)
            self._surroundings.flush_soon(self)

    def eof_received(self) -> None:
        """The far side sends no more."""
        if self._terminator is not None and not self._is_over:
            self._terminator.far_ended()
            self._surroundings.flush_soon(self)

    def closed(self, *, reset: bool) -> None:
        """The far side is through with the flow."""
        self._far = None
        if self._terminator is not None and not self._is_over:
            self._terminator.far_closed(reset=reset)
            self._surroundings.flush_soon(self)

    def pause_writing(self) -> None:
        """The far side takes nothing for now."""
        self._far_is_full(True)

    def resume_writing(self) -> None:
        """The far side takes bytes again."""
        self._far_is_full(False)

    def _far_is_full(self, full: bool) -> None:
        if self._terminator is not None and not self._is_over:
            self._terminator.far_is_full(full)
            self._surroundings.flush_soon(self)

    # -- time --------------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When `time_out` wants to be called; None: not at all."""
        if self._is_over:
            return None
        if self._terminator is None:
            return self._patience.ends_s
        return self._terminator.deadline_s

    def time_out(self, now_s: float) -> None:
        """`deadline_s` has passed; `flush` must follow."""
        if self._terminator is None:
            self._abandon()
        else:
            self._terminator.time_out(now_s)

    def check_idle(self, now_s: float) -> None:
        """To be called now and then; `flush` must follow."""
        if self._terminator is not None:
            self._terminator.check_idle(now_s)

    # -- what is to be done ------------------------------------------------------------------

    def shut(self) -> None:
        """The capture ends: whatever the connection is doing, tell both sides."""
        if self._is_over:
            return
        if self._terminator is None:
            self._refuse(OpenFailure.TUNNEL_DOWN)
            self._abandon()
        else:
            self._terminator.abort()
            self.flush()

    def flush(self) -> None:
        """Do everything that is due, outside any call of the far side."""
        if self._is_over:
            return
        if self._terminator is None:
            if self._may_open and self._opening is None:
                self._open()
            return
        for command in self._terminator.flush(self._surroundings.now_s()):
            if type(command) is Send:
                headers = self._framer.build_headers(command)
                self._surroundings.write(headers, command.payload)
            else:
                self._execute(command)

    def _execute(self, command: Command) -> None:
        far = self._far
        if isinstance(command, Finished):
            self._finish(orderly=command.orderly)
        elif far is None:
            pass
        elif isinstance(command, Deliver):
            self._surroundings.counters.bytes_up += len(command.data)
            self.bytes_up += len(command.data)
            far.write(command.data)
        elif command is FarSide.END:
            far.write_eof()
        elif command is FarSide.RESET:
            far.reset()
        elif command is FarSide.PAUSE:
            far.pause_reading()
        elif command is FarSide.RESUME:
            far.resume_reading()

    def _finish(self, *, orderly: bool) -> None:
        self._is_over = True
        self._far = None
        counters = self._surroundings.counters
        counters.flows_open -= 1
        counters.flows_reset += not orderly
        self._surroundings.forget(self)
