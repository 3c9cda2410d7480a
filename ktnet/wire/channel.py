"""A flow on an SSH channel, the same at both ends: its bytes, its two halves, and how it ends.

RFC 4254 section 5.3 gives a channel two messages to end with, EOF and CLOSE, and TCP has three
ways to end; client and shadow agree on this:

- EOF in one direction is a FIN; the other direction goes on.
- CLOSE after EOF both ways is an orderly end. Either end may send it.
- CLOSE before that is a reset.

`ChannelFlow` is what the SSH library calls a session (it is told what the peer does) and what
`ktnet.wire.flow` calls a Flow (it is told what the near side does). The library is known here
only by the few methods of `Channel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ktnet.errors import LocalProtocolError
from ktnet.wire.congestion import Congestion
from ktnet.wire.flow import Receiver
from ktnet.wire.sshchannel import MSG_CLOSE, MSG_EOF


class Channel(Protocol):
    """What a flow needs of an SSH channel (asyncssh's SSHTCPChannel has it)."""

    def write(self, data: Any) -> None: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


@dataclass
class Traffic:
    """What went over a connection so far."""

    bytes_sent: int = 0
    bytes_received: int = 0
    flows_open: int = 0
    flows_opened: int = 0
    flows_failed: int = 0


@dataclass(frozen=True)
class Surroundings:
    """What the flows of one connection share."""

    congestion: Congestion
    traffic: Traffic
    call_soon: Callable[..., object]
    """Of the event loop: for what must not happen within the near side's own call."""
    report: Callable[[Exception], object]
    """Says that a receiver has failed: a mistake of ours, which costs its flow and no other."""


class ChannelFlow:
    """One flow: a Flow to its receiver, a session to the SSH library."""

    def __init__(
        self,
        receiver: Receiver,
        surroundings: Surroundings,
        gone: Callable[[], object],
    ) -> None:
        """`gone` is called once, when the channel's number is free again."""
        self._receiver = receiver
        self._takes_views: bool = getattr(receiver, "takes_views", False)
        self._congestion = surroundings.congestion
        self._traffic = surroundings.traffic
        self._call_soon = surroundings.call_soon
        self._report = surroundings.report
        self._gone = gone
        self._channel: Channel | None = None
        self._abandoned = False
        self._over = False  # the receiver has been told the end, or has made it
        self._eof_sent = False
        self._eof_on_its_way = False  # EOF is in, perhaps behind data that nobody reads yet
        self._eof_received = False
        self._reading_paused = False
        self._window_full = False
        self._held_by_carrier = False
        self._told_to_pause = False
        self._pause_check_due = False

    # -- what the SSH library says ---------------------------------------------------------

    def watch(self, channel: Any) -> None:
        """See EOF and CLOSE when they come in, not when the library gets round to telling.

        asyncssh keeps EOF behind unread data, and forgets it when CLOSE comes meanwhile, so that
        an end would look like a reset; and a reset is told only after the unread data.
        """
        process_packet = channel.process_packet

        def process_and_watch(pkttype: int, pktid: int, packet: Any) -> Any:
            if pkttype == MSG_EOF:
                self._eof_on_its_way = True
            result = process_packet(pkttype, pktid, packet)
            if pkttype == MSG_CLOSE and self._reading_paused and not self._eof_on_its_way:
                self._call_soon(self._reset_while_paused)
            return result

        channel.process_packet = process_and_watch

    def connection_made(self, channel: Channel) -> None:
        """The channel is open at both ends; nothing has been delivered yet."""
        self._channel = channel
        # Whatever the peer's window does not take at once is a reason to hold the sender back.
        channel.set_write_buffer_limits(high=0)
        self._traffic.flows_opened += 1
        self._traffic.flows_open += 1

    def abandon(self) -> None:
        """Nobody waits for the flow any more: close it as soon as it has opened."""
        self._abandoned = True

    def session_started(self) -> None:
        """Deliveries begin."""
        if self._abandoned:
            self.reset()
        else:
            self._tell(self._receiver.opened, self)

    def data_received(self, data: bytes | memoryview, _datatype: object = None) -> None:
        """CHANNEL_DATA."""
        self._traffic.bytes_received += len(data)
        if self._over:
            return
        try:
            self._receiver.data_received(data if self._takes_views else bytes(data))  # type: ignore[arg-type]
        except Exception as error:
            self._lose_receiver(error)

    def eof_received(self) -> bool:
        """CHANNEL_EOF, all data before it having been delivered. True: stay half open."""
        if not self._over and not self._eof_received:
            self._eof_received = True
            self._tell(self._receiver.eof_received)
            self._end_if_both_eof()
        return True

    def pause_writing(self) -> None:
        """The peer's window is full."""
        self._window_full = True
        self._check_pause_soon()

    def resume_writing(self) -> None:
        """The peer's window has room again and nothing waits for it."""
        self._window_full = False
        self._check_pause_soon()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The channel is closed at both ends, or the connection below is lost."""
        self._congestion.forget(self)
        self._traffic.flows_open -= 1
        self._gone()
        if self._over:
            return
        if exc is None and self._eof_on_its_way:
            self.eof_received()
        self._finish(reset=exc is not None or not (self._eof_sent and self._eof_received))

    # -- what the near side says -----------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Send; nothing happens where the flow is just being torn down."""
        if self._eof_sent:
            raise LocalProtocolError("data after EOF")
        channel = self._channel
        if channel is None or self._over or channel.is_closing():
            return
        self._traffic.bytes_sent += len(data)
        channel.write(data)
        if self._congestion.congested and not self._held_by_carrier:
            self._held_by_carrier = True
            self._congestion.wait(self)
            self._check_pause_soon()

    def write_eof(self) -> None:
        """Send EOF behind all data."""
        if self._channel is None or self._over or self._eof_sent:
            return
        self._eof_sent = True
        self._channel.write_eof()
        self._end_if_both_eof()

    def reset(self) -> None:
        """CLOSE at once; the receiver hears nothing more."""
        if self._channel is None or self._over:
            return
        self._over = True
        self._congestion.forget(self)
        self._channel.abort()

    def pause_reading(self) -> None:
        """Deliver nothing: the window fills, and then the peer stops."""
        self._reading_paused = True
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again, from the next turn of the loop on."""
        if self._reading_paused:
            self._reading_paused = False
            self._call_soon(self._resume_channel)

    # -- what follows from both ------------------------------------------------------------

    def carrier_released(self) -> None:
        """It is this flow's turn to use the carrier again."""
        self._held_by_carrier = False
        self._check_pause()

    def _check_pause_soon(self) -> None:
        if not self._pause_check_due:
            self._pause_check_due = True
            self._call_soon(self._check_pause)

    def _check_pause(self) -> None:
        self._pause_check_due = False
        pause = self._window_full or self._held_by_carrier
        if self._over or pause == self._told_to_pause:
            return
        self._told_to_pause = pause
        self._tell(self._receiver.pause_writing if pause else self._receiver.resume_writing)

    def _resume_channel(self) -> None:
        if not self._reading_paused and self._channel is not None:
            self._channel.resume_reading()

    def _reset_while_paused(self) -> None:
        if not self._over and self._channel is not None:
            self._channel.abort()
            self._finish(reset=True)

    def _end_if_both_eof(self) -> None:
        """Send CLOSE after EOF both ways.

        Not while our EOF still waits for the peer's window: asyncssh's close() would leave it
        out. The peer, which gets the last EOF then, sends CLOSE.
        """
        if not (self._eof_sent and self._eof_received) or self._over or self._channel is None:
            return
        if self._channel.get_write_buffer_size() == 0:
            self._channel.close()
            self._over = True
            self._call_soon(self._tell_end)

    def _tell_end(self) -> None:
        self._tell(self._receiver.closed, reset=False)

    def _finish(self, *, reset: bool) -> None:
        if not self._over:
            self._over = True
            self._tell(self._receiver.closed, reset=reset)

    def _tell(self, what: Callable[..., object], *arguments: object, **options: object) -> None:
        """Have the receiver hear something."""
        try:
            what(*arguments, **options)
        except Exception as error:  # whatever it is, the connection carries other flows
            self._lose_receiver(error)

    def _lose_receiver(self, error: Exception) -> None:
        """It has failed: that costs it its flow, and no other notices."""
        self._report(error)
        if not self._over:
            self.reset()
            self._tell(self._receiver.closed, reset=True)
