"""A flow's channel on the data path of our own: its windows, and what waits in either direction.

To whoever opened the channel it is the session, to the flow it is the channel
(`ktnet.wire.channel`): so a flow doesn't notice which path its bytes take. Opening, EOF and CLOSE
are `ktnet.stream.control`'s, and asyncssh's in channels that the shadow opens.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Any

import asyncssh

from ktnet.stream.batch import call_soon
from ktnet.stream.control import OwnChannel
from ktnet.stream.datapath import DataPath
from ktnet.stream.internals import TakenChannel
from ktnet.wire.channel import ChannelFlow
from ktnet.wire.pacing import LEAST_BYTES, Pacer
from ktnet.wire.sshchannel import Terms, build_window_growth
from ktnet.wire.sshrecord import Sealer
from ktnet.wire.window import INTERACTIVE_PACKET_BYTES, PACKET_BYTES, WindowGrowth

PROMPT_BYTES = 2 * PACKET_BYTES
"""Taken bytes after which the peer is told, so that it knows how much is on its way."""

INTERACTIVE_PROMPT_BYTES = 64 * 1024
"""The same while somebody waits for answers."""

SMALL_BYTES = 2048
"""What a flow sends that waits for answers."""

SMALL_IN_A_ROW = 3
"""Words without bulk in between: then it isn't one request for a large answer."""

MOST_WINDOW_BYTES = 0xFFFFFFFF
"""RFC 4254 section 5.2."""


class _End(enum.Enum):
    """What may wait behind data that nobody reads."""

    EOF = enum.auto()
    LOST = enum.auto()


class DataChannel:
    """One channel."""

    def __init__(self, flow: ChannelFlow, path: DataPath) -> None:
        self._flow = flow
        self._path = path
        self._channel: OwnChannel | TakenChannel | None = None
        self._number = self._peer_number = -1
        # Sending
        self._window = 0
        self._largest = PACKET_BYTES
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._eof_unsent = False
        self._waits_for_turn = False
        self._pacer = Pacer()
        self._small_in_a_row = 0
        # Receiving
        self._receive_window = 0
        self._half_window = PROMPT_BYTES
        self._least_told_bytes = INTERACTIVE_PROMPT_BYTES
        self._taken_bytes = 0
        self._growth: WindowGrowth | None = None
        self._started = False
        self._paused = False
        self._deaf = False
        self._eof_arrived = False
        self._undelivered: deque[bytes | _End] = deque()

    # -- what the channel says -------------------------------------------------------------

    def connection_made(self, channel: Any) -> None:
        """A channel of asyncssh's is open at both ends."""
        taken = TakenChannel(channel)
        theirs, window_bytes, received = taken.take()
        self._undelivered.extend(received)
        self.begin(taken, theirs, window_bytes)

    def begin(self, channel: OwnChannel | TakenChannel, theirs: Terms, window_bytes: int) -> None:
        """The channel is open at both ends; the peer may send so many bytes."""
        self._channel = channel
        self._number, self._peer_number = channel.number, theirs.number
        self._window = theirs.window_bytes
        self._largest = min(PACKET_BYTES, theirs.largest_packet_bytes)
        self._receive_window = window_bytes
        self._half_window = window_bytes // 2
        self._least_told_bytes = min(INTERACTIVE_PROMPT_BYTES, self._half_window)
        path = self._path
        path.join(self._number, self)
        if isinstance(channel, OwnChannel):
            self._growth = WindowGrowth(window_bytes, path.growth, path.now_s())
            self._flow.watch(channel)
        self._flow.connection_made(self)

    @property
    def _open_channel(self) -> OwnChannel | TakenChannel:
        assert self._channel is not None  # noqa: S101  (nothing is asked of it before `begin`)
        return self._channel

    def session_started(self) -> None:
        """Deliveries begin, in a later turn."""
        self._flow.session_started()
        call_soon(self._start)

    def _start(self) -> None:
        self._started = True
        self._deliver()

    def eof_received(self) -> bool:
        """The peer sends no more; True: stay half open."""
        self._eof_arrived = True
        if self._must_wait():
            self._undelivered.append(_End.EOF)
        else:
            self._flow.eof_received()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """The channel is closed at both ends, or (with `exc`) the connection is lost."""
        self._path.leave(self._number, self)
        self._drop_unsent()
        if self._growth is not None:
            self._growth.end()
        if exc is None and self._must_wait() and not self._deaf:
            self._undelivered.append(_End.LOST)
        else:
            self._undelivered.clear()
            self._flow.connection_lost(exc)

    # -- receiving -------------------------------------------------------------------------

    def data_arrived(self, data: memoryview) -> None:
        """CHANNEL_DATA; the view is valid until this returns."""
        data_bytes = len(data)
        if self._eof_arrived:
            raise asyncssh.ProtocolError("Data after EOF")
        if data_bytes > self._receive_window:
            raise asyncssh.ProtocolError("Window exceeded")
        self._receive_window -= data_bytes
        if data_bytes > SMALL_BYTES:
            self._small_in_a_row = 0
        if self._deaf or not data_bytes:
            return
        if self._paused or self._must_wait():
            self._undelivered.append(bytes(data))
        else:
            self._take(data)

    def _must_wait(self) -> bool:
        return bool(self._undelivered) or not self._started

    def _deliver(self) -> None:
        while self._undelivered and self._started and not self._paused:
            item = self._undelivered.popleft()
            if isinstance(item, bytes):
                self._take(item)
            elif item is _End.EOF:
                self._flow.eof_received()
            else:
                self._flow.connection_lost(None)

    def _take(self, data: bytes | memoryview) -> None:
        self._taken_bytes += len(data)
        if self._taken_bytes >= self._least_told_bytes and self._is_to_be_told():
            self._tell_taken()
        self._flow.data_received(data)

    def _tell_taken(self) -> None:
        more = self._taken_bytes
        self._taken_bytes = 0
        growth = self._growth
        if growth is not None and (grown := growth.use(more, self._path.now_s())):
            self._path.send_control(build_window_growth(self._peer_number, grown))
            self._half_window = growth.window_bytes // 2
            more += grown
        self._receive_window += more
        self._path.send_window_adjust(self._peer_number, more)

    def _is_to_be_told(self) -> bool:
        """Whether the peer is to hear that so many bytes have been taken."""
        interactive = self._path.now_s() < self._path.interactive_until_s
        prompt = INTERACTIVE_PROMPT_BYTES if interactive else PROMPT_BYTES
        enough = min(prompt, self._half_window)
        return self._taken_bytes >= enough and self._open_channel.has_peer

    def pause_reading(self) -> None:
        """Deliver nothing: the window fills, and then the peer stops."""
        self._paused = True

    def resume_reading(self) -> None:
        """Deliver again."""
        self._paused = False
        self._deliver()

    # -- sending ---------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Send, or keep a copy for later and have the flow told to wait."""
        view = memoryview(data)
        if not self._unsent:
            now_s = self._path.now_s()
            self._note_size(len(view), now_s)
            view = self._send_some(view, now_s)
        if len(view):
            self._unsent.append(memoryview(bytes(view)))
            self._unsent_bytes += len(view)
            self._wait_for_turn()
            self._flow.pause_writing()

    def _note_size(self, count: int, now_s: float) -> None:
        if count > SMALL_BYTES:
            self._small_in_a_row = 0
            return
        self._small_in_a_row += 1
        if self._small_in_a_row >= SMALL_IN_A_ROW:
            self._path.note_interactive(now_s)

    def _send_some(self, view: memoryview, now_s: float) -> memoryview:
        """Send as many packets as can be sent now; the rest."""
        path = self._path
        while view and (sealer := path.find_sealer()) is not None:
            room = self._room(len(view), now_s)
            if not room:
                break
            self._send(sealer, view[:room], now_s)
            view = view[room:]
        return view

    def _room(self, count: int, now_s: float) -> int:
        """How many bytes of so many may go in a packet now."""
        room = min(count, self._window, self._largest)
        if now_s >= self._path.interactive_until_s:
            return room
        if count <= SMALL_BYTES and self._pacer.in_flight + count <= LEAST_BYTES:
            return room  # as the pacer would find out
        paced = self._pacer.room()
        most = min(INTERACTIVE_PACKET_BYTES, self._pacer.piece())
        return min(room, most, room if paced is None else paced)

    def _send(self, sealer: Sealer, piece: memoryview, now_s: float) -> None:
        self._window -= len(piece)
        self._pacer.sent(len(piece), now_s)
        path = self._path
        # Behind a packet under way everybody waits: it isn't made larger where somebody does.
        most_bytes = 0 if now_s < path.interactive_until_s else self._largest
        path.send_data(sealer, self._peer_number, piece, most_bytes)

    def _wait_for_turn(self) -> None:
        # Where there is no room, the peer's next adjustment is what we wait for.
        if not self._waits_for_turn and self._room(self._unsent_bytes, self._path.now_s()):
            self._waits_for_turn = True
            self._path.wait_for_turn(self)

    def send_piece(self) -> bool:
        """It is this channel's turn: send a packet; whether another one could follow."""
        if (
            not self._open_channel.has_peer
        ):  # CLOSE has come and is answered; we hear of it in a turn
            self._drop_unsent()
            return False
        now_s = self._path.now_s()
        view = self._unsent.popleft()
        sealer = self._path.find_sealer()
        room = 0 if sealer is None else self._room(len(view), now_s)
        if room < len(view):
            self._unsent.appendleft(view[room:])
        if sealer is None or not room:
            self._waits_for_turn = False
            return False
        self._unsent_bytes -= room
        self._send(sealer, view[:room], now_s)
        self._waits_for_turn = bool(self._unsent and self._room(self._unsent_bytes, now_s))
        if not self._unsent:
            if self._eof_unsent:
                self._eof_unsent = False
                self._open_channel.write_eof()
            self._flow.resume_writing()
        return self._waits_for_turn

    def window_grows(self, count: int) -> None:
        """So many bytes of the next adjustment are growth."""
        self._pacer.window_grows(count)

    def window_adjusted(self, more_bytes: int) -> None:
        """The peer takes so many bytes more."""
        self._window += more_bytes
        self._pacer.acknowledged(more_bytes, self._path.now_s())
        if self._window > MOST_WINDOW_BYTES:
            raise asyncssh.ProtocolError("Window overflow")
        if self._unsent:
            self._wait_for_turn()

    def write_eof(self) -> None:
        """Send EOF behind everything."""
        if self._unsent:
            self._eof_unsent = True
        else:
            self._open_channel.write_eof()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the peer's window or for a turn."""
        return self._unsent_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Any byte that waits is a reason to hold the sender back."""

    # -- the end ---------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._eof_unsent or self._open_channel.is_closing()

    def close(self) -> None:
        """CLOSE, everything being sent; hear nothing more."""
        self._end(self._open_channel.close)

    def abort(self) -> None:
        """CLOSE at once."""
        self._drop_unsent()
        self._path.leave_turns(self)
        self._end(self._open_channel.abort)

    def _drop_unsent(self) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0
        self._waits_for_turn = False

    def _end(self, end: Callable[[], object]) -> None:
        self._deaf = True
        was_lost = _End.LOST in self._undelivered
        self._undelivered.clear()
        end()
        if was_lost:  # and nobody had been told, because of what came before
            call_soon(self._flow.connection_lost, None)
