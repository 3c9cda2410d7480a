"""The data path of our own: SSH packets of one connection, from the byte stream to the flows.

Receiving: the stream fills one buffer; packets are opened in it, in place; the data of flows goes
to their channels as views of it; every other packet goes to asyncssh. Sending: packets are sealed
one behind the other in one buffer (`ktnet.stream.outbox`), which goes out at the end of a turn or
when it is full. While
the stream takes nothing, nothing is sealed: channels keep what comes and ask for no more, and get
their turns one after the other when it goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncssh

from ktnet.errors import RemoteProtocolError
from ktnet.stream.batch import call_last, run_batch
from ktnet.stream.control import ChannelControl, Serve
from ktnet.stream.intake import Intake, open_intake
from ktnet.stream.internals import Hold
from ktnet.stream.outbox import BATCH_BYTES, Outbox
from ktnet.stream.outlet import Outlet
from ktnet.stream.polling import find_poller
from ktnet.stream.unsent import limit_unsent
from ktnet.wire.channel import ChannelFlow
from ktnet.wire.congestion import Congestion
from ktnet.wire.sshchannel import MSG_CHANNEL_OPEN
from ktnet.wire.sshrecord import (
    DATA_OFFSET,
    LENGTH_BYTES,
    MSG_CHANNEL_DATA,
    MSG_IGNORE,
    MSG_REQUEST_SUCCESS,
    MSG_WINDOW_ADJUST,
    PAYLOAD_OFFSET,
    TAG_BYTES,
    Sealer,
    parse_data_header,
    parse_length,
    parse_window_adjust,
)
from ktnet.wire.window import INTERACTIVE_PACKET_BYTES, PACKET_BYTES, GrowthBudget

if TYPE_CHECKING:
    from ktnet.stream.datachannel import DataChannel

MOST_PACKET_BYTES = PACKET_BYTES + 1024
"""Nobody was told that more may come; what asyncssh allows beside the data."""

IN_BYTES = 4 * PACKET_BYTES
LEAST_ROOM_BYTES = PACKET_BYTES
"""To read into: below, what is left in the buffer is moved to its front."""

AT_ONCE_BYTES = 2 * PACKET_BYTES
"""Taken from the stream at once, where nobody waits for answers."""

ALONE_BYTES = 4096
ALONE_INTERVAL_S = 0.001
"""A small packet goes out at once where none has for so long, whatever may follow it."""

INTERACTIVE_S = 1.0
"""How long after its last word somebody is taken to be waiting for answers."""

ALIVE_INTERVAL_S = 1.0
"""How often received data puts the next keepalive off."""


class DataPath(asyncio.BufferedProtocol):
    """The protocol of the byte stream, in front of a connection of asyncssh's (`ssh`)."""

    def __init__(self, ssh: Any, admit: Callable[[], bool]) -> None:
        self.congestion = Congestion()
        self._ssh = ssh
        self._admit = admit
        self._loop = asyncio.get_running_loop()
        self.now_s = time.monotonic
        self.heard_s = self.now_s()
        self.interactive_until_s = 0.0
        """Until then somebody is waiting who must not wait behind bulk."""
        self._transport: asyncio.Transport | None = None
        self._intake: Intake | None = None
        self._poller = find_poller()
        self._hold: Hold | None = None
        self._channels: dict[int, DataChannel] = {}
        self._control = ChannelControl(self.send_control)
        # Received and not yet opened: from _in_start to _in_end.
        self._in = bytearray(IN_BYTES)
        self._in_view = memoryview(self._in)
        self._in_start = self._in_end = 0
        self._opened_count = 0
        self._alive_s = 0.0
        self._outbox = Outbox()
        self._flush_handle: asyncio.Handle | None = None
        self._alone_s = 0.0
        self._blocked = False
        self._turns: deque[DataChannel] = deque()
        self.growth = GrowthBudget()

    @property
    def path(self) -> str:
        """Whose code moves the bytes of flows."""
        return "own" if self._hold is not None else "asyncssh"

    def build_session(self, flow: ChannelFlow) -> Any:
        """What asyncssh is to take for the session of the flow's channel."""
        from ktnet.stream.datachannel import DataChannel  # noqa: PLC0415 -- they need each other

        return flow if self._hold is None else DataChannel(flow, self)

    @property
    def control(self) -> ChannelControl | None:
        """Opens and ends channels, once the ciphers are ours."""
        return None if self._hold is None else self._control

    def serve(self, serve: Serve) -> None:
        """Have the peer's requests for `direct-tcpip` come here instead of to asyncssh."""
        self._control.serve = serve

    # -- the byte stream -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        if not self._admit():
            transport.abort()
            return
        self._transport = transport
        # So that any byte that the kernel doesn't take at once blocks: the buffer of sealed
        # packets is not touched until the transport is through with it.
        transport.set_write_buffer_limits(high=0)
        limit_unsent(transport)
        self._ssh.connection_made(Outlet(transport, self))

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is gone."""
        if self._transport is None:
            return
        self._transport = None
        if self._intake is not None:
            self._intake.close()
        self._turns.clear()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        self._ssh.connection_lost(exc)
        self._blocked = False
        self.congestion.release()

    def eof_received(self) -> None:
        """The other end of the stream."""
        if self._transport is not None:
            self._ssh.eof_received()

    # -- receiving -------------------------------------------------------------------------

    @property
    def _reads_from(self) -> asyncio.Transport | Intake:
        assert self._transport is not None  # noqa: S101  (asked of a connection that is there)
        return self._intake or self._transport

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go."""
        if self._in_start == self._in_end:
            self._in_start = self._in_end = 0
        elif IN_BYTES - self._in_end < LEAST_ROOM_BYTES:
            rest = self._in_end - self._in_start
            self._in_view[:rest] = self._in_view[self._in_start : self._in_end]
            self._in_start, self._in_end = 0, rest
        interactive = self.now_s() < self.interactive_until_s
        most = INTERACTIVE_PACKET_BYTES if interactive else AT_ONCE_BYTES
        return self._in_view[self._in_end : self._in_end + most]

    def buffer_updated(self, nbytes: int) -> None:
        """So many have come."""
        self._in_end += nbytes
        self.heard_s = self.now_s()
        if self._transport is None:
            return
        if self._hold is None:
            self._feed_asyncssh()
        else:
            if self.heard_s - self._alive_s > ALIVE_INTERVAL_S:
                self._alive_s = self.heard_s
                self._hold.show_alive()
            self._open_packets()

    def _feed_asyncssh(self) -> None:
        """As long as it does everything; then take over."""
        data = bytes(self._in_view[self._in_start : self._in_end])
        self._in_start = self._in_end = 0
        self._ssh.data_received(data)
        if self._transport is not None and Hold.is_possible(self._ssh):
            self._hold = Hold(
                self._ssh,
                self._became_idle,
                self._control.connection_lost,
                self._outbox.close_packet,
            )
            self._intake = open_intake(self._transport, self)
            rest = self._hold.rest
            self._in[: len(rest)] = rest
            self._in_end = len(rest)
            self._open_packets()

    def _open_packets(self) -> None:
        if self._hold is not None and not self._hold.is_busy():
            run_batch(self._open_batch)

    def _open_batch(self) -> None:
        hold = self._hold
        assert hold is not None  # noqa: S101  (narrows the type)
        try:
            while self._in_end > self._in_start and self._open_packet(hold):
                pass
        except asyncssh.DisconnectError as error:
            self._break(error)
        except RemoteProtocolError as error:
            self._break(asyncssh.ProtocolError(str(error)))
        except Exception as error:
            self._ssh.connection_lost(error)
        self.give_turns()
        if self._outbox.sealed_bytes:  # by asyncssh, perhaps, for which there are no batches
            call_last(self.flush)

    def _open_packet(self, hold: Hold) -> bool:
        """Open and deal with one packet; False where none is there, or none may be opened now."""
        start = self._in_start
        have = self._in_end - start
        if have < LENGTH_BYTES or self._transport is None:
            return False
        length = parse_length(self._in, start, MOST_PACKET_BYTES)
        whole = LENGTH_BYTES + length + TAG_BYTES
        if have < whole:
            return False
        payload_bytes = hold.opener.open(self._in_view, start, length)
        self._in_start = start + whole
        kind = self._in[start + PAYLOAD_OFFSET]
        if self._take(kind, start, payload_bytes):
            self._opened_count += 1
            return True
        opened_before, self._opened_count = self._opened_count, 0
        hold.receive(bytes(self._in_view[start : start + LENGTH_BYTES + length]), opened_before)
        if kind == MSG_REQUEST_SUCCESS:
            # Who has asked hears of it in a turn of its own, and what follows may be for them: the
            # first caller of a port that the shadow has just begun to listen on.
            self._loop.call_soon(self._open_packets)
            return False
        return self._go_on(hold)

    def _take(self, kind: int, start: int, payload_bytes: int) -> bool:
        """Deal with an opened packet; False where it is asyncssh's to."""
        if kind == MSG_CHANNEL_DATA:
            number, data_bytes = parse_data_header(self._in, start, payload_bytes)
            if (channel := self._channels.get(number)) is None:
                return False
            begin = start + DATA_OFFSET
            channel.data_arrived(self._in_view[begin : begin + data_bytes])
        elif kind == MSG_WINDOW_ADJUST:
            number, more_bytes = parse_window_adjust(self._in, start, payload_bytes)
            if (channel := self._channels.get(number)) is None:
                return False
            channel.window_adjusted(more_bytes)
        elif kind >= MSG_CHANNEL_OPEN:
            begin = start + PAYLOAD_OFFSET
            return self._control.take(bytes(self._in_view[begin : begin + payload_bytes]))
        else:
            return kind == MSG_IGNORE
        return True

    def _go_on(self, hold: Hold) -> bool:
        """asyncssh has had a packet, which may have begun or ended a key exchange."""
        if self._transport is None:
            return False
        if hold.is_busy():
            self._reads_from.pause_reading()
        return not hold.is_busy()

    def _became_idle(self) -> None:
        if self._transport is not None:
            self._reads_from.resume_reading()
            self._open_packets()

    def _break(self, error: asyncssh.DisconnectError) -> None:
        """Say why, and close."""
        reason = error.reason.encode()
        words = (error.code.to_bytes(4, "big"), len(reason).to_bytes(4, "big"), reason, bytes(4))
        self._ssh.send_packet(asyncssh.constants.MSG_DISCONNECT, *words)
        self.flush()
        self._ssh.connection_lost(error)

    # -- channels --------------------------------------------------------------------------

    def join(self, number: int, channel: DataChannel) -> None:
        """Bring the channel that has this number here its data from now on."""
        self._channels[number] = channel

    def leave(self, number: int, channel: DataChannel) -> None:
        """The channel is gone."""
        self._channels.pop(number, None)
        self.leave_turns(channel)

    def leave_turns(self, channel: DataChannel) -> None:
        """The channel has nothing to send any more."""
        if channel in self._turns:
            self._turns.remove(channel)

    def note_interactive(self, now_s: float) -> None:
        """Somebody has sent little, and waits for an answer."""
        self.interactive_until_s = now_s + INTERACTIVE_S
        if self._poller is not None:
            self._poller.interactive_until_s = self.interactive_until_s

    # -- sending ---------------------------------------------------------------------------

    def find_sealer(self) -> Sealer | None:
        """For the next packet; None where none can be sent now."""
        if self._blocked or self._transport is None or self._hold is None:
            return None
        return self._hold.sealer()

    def send_data(self, sealer: Sealer, number: int, data: memoryview, most_bytes: int) -> None:
        """Send at most PACKET_BYTES for the peer's channel `number`, by what `find_sealer` has
        just found.

        They may go with what was said before, and with what follows, in a packet of `most_bytes`.
        """
        outbox = self._outbox
        outbox.add_data(sealer, number, data, most_bytes)
        if outbox.sealed_bytes >= INTERACTIVE_PACKET_BYTES and not most_bytes:
            self.flush()  # somebody waits for what may come behind it
        else:
            self._added()

    def send_window_adjust(self, number: int, more_bytes: int) -> None:
        """Let the peer send so many bytes more on its channel `number`."""
        if (sealer := self.find_sealer()) is not None:
            self._outbox.add_window_adjust(sealer, number, more_bytes)
            self._added()
        else:  # asyncssh keeps it while keys are being renewed
            words = (number.to_bytes(4, "big"), more_bytes.to_bytes(4, "big"))
            self._ssh.send_packet(MSG_WINDOW_ADJUST, b"".join(words))

    def send_control(self, payload: bytes) -> None:
        """Send a message about a channel, in order with everything else."""
        if (sealer := self.find_sealer()) is not None:
            self._outbox.add_payload(sealer, payload)
            self._added()
        else:  # as above
            self._ssh.send_packet(payload[0], payload[1:])

    def _added(self) -> None:
        """Have what was added leave: at once, or with what else there will be in this turn."""
        outbox = self._outbox
        if outbox.sealed_bytes >= BATCH_BYTES or (outbox.count == 1 and self._is_alone()):
            self.flush()
        elif not call_last(self.flush) and self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self.flush)

    def _is_alone(self) -> bool:
        """Whether this is a lone word, for which nothing else is worth waiting in this turn."""
        if self._outbox.sealed_bytes + self._outbox.gathered_bytes > ALONE_BYTES:
            return False
        now_s = self.now_s()
        last_s, self._alone_s = self._alone_s, now_s
        if now_s - last_s > ALONE_INTERVAL_S:
            return True
        poller = self._poller
        return poller is not None and poller.is_single and self._in_start == self._in_end

    def send_sealed(self, data: bytes) -> None:
        """Bytes of asyncssh's, in order with everything else."""
        if self._transport is None:
            return
        if self._blocked or not self._outbox.add_sealed(data):
            self.flush()
            self._transport.write(data)
        elif self._outbox.sealed_bytes >= BATCH_BYTES:
            self.flush()
        elif self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Give all there is to the stream."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        view = self._outbox.take()
        if view and self._transport is not None:
            self._transport.write(view)
            count, self._outbox.uncounted_bytes = self._outbox.uncounted_bytes, 0
            if self._hold is not None:
                self._hold.count_sent(count)

    def pause_writing(self) -> None:
        """The stream takes no more."""
        self._blocked = True
        self.congestion.hold()

    def resume_writing(self) -> None:
        """It has taken everything."""
        self._blocked = False
        self.give_turns()

    def wait_for_turn(self, channel: DataChannel) -> None:
        """`channel` has something to send and can't, or hasn't been asked yet."""
        self._turns.append(channel)

    def give_turns(self) -> None:
        """Let the channels that wait send, a packet each, round and round."""
        turns = self._turns
        while turns and self.find_sealer() is not None:
            channel = turns.popleft()
            if channel.send_piece():
                turns.append(channel)
        if not turns and not self._blocked and self.congestion.congested:
            self.congestion.release()
