"""A forwarded connection as an asyncio transport, whose bytes travel in whole messages of a
WebSocket. There is no half-close: either side's end is the end of both.

The transport is at the same time the protocol of the connection to the API server, so that a byte
is copied once each way: up into the message that is masked, down from behind the frame's header to
the end of what the protocol has already, in the protocol's own buffer.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from aiohttp._websocket.helpers import websocket_mask

from ktnet.cluster.server.upgrade import Upgraded, feed_buffered
from ktnet.errors import KtnetError, RemoteProtocolError, TunnelError
from ktnet.stream.unsent import limit_unsent
from ktnet.wire.portforward import (
    DATA_PREFIX,
    ClientDecoder,
    Closed,
    Event,
    Failed,
    Garbled,
    Pinged,
)
from ktnet.wire.websocket import MASK_BYTES, NORMAL_CLOSURE, Opcode, build_client_header

log = logging.getLogger(__name__)

ProtocolFactory = Callable[[], asyncio.BaseProtocol]

_MESSAGE_SIZE = (448 << 10) - 1
"""Most bytes of one message to the server: what the data path of SSH sends at once fits into it.
The server takes 8 MiB, but holds a message whole before it passes any of it on."""

_BUFFER_STEP = 64 << 10
"""Messages from this size on are masked in buffers that are kept, one for each step of the size:
in new memory each time, they cost half as much again as TLS does."""

_READ_BYTES = 64 << 10
"""To read into, where the protocol has no buffer of its own."""

_HIGH_WATER, _LOW_WATER = 512 << 10, 128 << 10
"""Bytes waiting to be sent at which the protocol is paused and resumed: two messages, so that the
next one is there when one has gone."""

_CLOSE_TIMEOUT_S = 2
"""For the server to answer our close; then the connection is cut."""

_TICK_S = 2.0
_SILENT_TICKS_TO_PING = 2
_SILENT_TICKS_TO_GIVE_UP = 7
"""14 s without a byte, though pinged at 4, 6, ...: the tunnel is dead. Ticks are counted, not
time, so that a laptop that slept gives the server a chance to answer."""


class ClosedEarly(Exception):
    """The server has gone before it opened."""


class ForwardTransport(asyncio.BufferedProtocol, asyncio.Transport):
    """One forwarded connection, as asyncio's transports are (and with their semantics)."""

    def __init__(
        self, connection: Upgraded, decoder: ClientDecoder, protocol_factory: ProtocolFactory
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._decoder = decoder
        self._protocol_factory = protocol_factory
        self._protocol: Any = None
        self.opened: asyncio.Future[asyncio.BaseProtocol] = self._loop.create_future()
        """The protocol, once it is connected."""
        self._lower: asyncio.Transport | None = None
        self._buffers: dict[int, bytearray] = {}
        self._pending: deque[memoryview] = deque()
        self._pending_size = 0
        self._high, self._low = _HIGH_WATER, _LOW_WATER
        self._blocked = False
        """The connection takes no more."""
        self._writing_paused = False
        """The protocol has been told so."""
        self._reading = True
        self._own_buffer = memoryview(bytearray(_READ_BYTES))
        self._buffer = self._own_buffer
        """What is being read into."""
        self._heard = True
        self._closing = False
        self._said_goodbye = False
        self._last_wait: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Look whether somebody is there for as long as the stream lives; cancelled, cut it."""
        silent = 0
        try:
            while silent < _SILENT_TICKS_TO_GIVE_UP:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_S):
                        await self._ended.wait()
                    return
                # Who doesn't read can't hear an answer either.
                silent = 0 if self._heard or not self._reading else silent + 1
                self._heard = False
                if silent >= _SILENT_TICKS_TO_PING:
                    self._write_frame(Opcode.PING)
            self._end(TunnelError("the port-forward is dead: no answer for 14 s"), cut=True)
        finally:
            self._end(None, cut=True)

    # Towards the pod

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send; all that doesn't go at once is kept."""
        if self._closing or not data:
            return
        self._pending.append(memoryview(data))
        self._pending_size += len(data)
        self._send_pending()
        if self._pending and type(data) is not bytes:
            # What is left of it may be changed by whom it belongs to.
            self._pending[-1] = memoryview(bytes(self._pending[-1]))
        if not self._writing_paused and self.get_write_buffer_size() > self._high:
            self._writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Send, in one message where that is possible."""
        self.write(b"".join(list_of_data))

    def _send_pending(self) -> None:
        while self._pending and not self._blocked:
            parts = self._take_message()
            self._pending_size -= sum(map(len, parts))
            self._write_frame(Opcode.BINARY, DATA_PREFIX, *parts)

    def _take_message(self) -> list[memoryview]:
        """The parts of the next message."""
        parts: list[memoryview] = []
        room = _MESSAGE_SIZE
        while self._pending and room:
            part = self._pending.popleft()
            if len(part) > room:
                self._pending.appendleft(part[room:])
                part = part[:room]
            parts.append(part)
            room -= len(part)
        return parts

    def _write_frame(self, opcode: Opcode, *parts: bytes | memoryview) -> None:
        """Mask and send a frame.

        Each has a new key, as RFC 6455 wants it (section 5.3): masking costs 0.05 s of a processor
        for each GiB, too little to do without on the ground that TLS hides what we send from the
        caches that it is to protect.
        """
        if self._lower is None or self._lower.is_closing():
            return
        key = os.urandom(MASK_BYTES)
        size = sum(map(len, parts))
        header = build_client_header(opcode, size, key)
        if size < _BUFFER_STEP:
            payload = bytearray().join(parts)
            websocket_mask(key, payload)
            self._lower.write(header + payload)
            return
        buffer = self._keep_buffer(size)
        at = 0
        with memoryview(buffer) as view:
            for part in parts:
                view[at : at + len(part)] = part
                at += len(part)
        websocket_mask(key, buffer)
        self._lower.writelines((header, memoryview(buffer)[:size]))

    def _keep_buffer(self, size: int) -> bytearray:
        """For a frame of data, the last of which the connection is through with: while it has any
        byte of that left, it is `_blocked`."""
        step = size // _BUFFER_STEP
        if (buffer := self._buffers.get(step)) is None:
            buffer = self._buffers[step] = bytearray((step + 1) * _BUFFER_STEP)
        return buffer

    def pause_writing(self) -> None:
        """The connection takes no more."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It has sent everything."""
        self._blocked = False
        if self._ended.is_set():
            return
        self._send_pending()
        if self._writing_paused and self.get_write_buffer_size() <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._closing:
            self._say_goodbye()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait here or in the connection's transport."""
        if self._lower is None or self._ended.is_set():
            return 0
        return self._pending_size + self._lower.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """As they were set."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bytes; pause the protocol above `high`, and resume it at `low`."""
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}), and low >= 0")
        self._high, self._low = high, low

    def can_write_eof(self) -> bool:
        """There is no half-close."""
        return False

    # From the pod

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the connection's next bytes go: into the protocol's own buffer, if it has one."""
        if isinstance(self._protocol, asyncio.BufferedProtocol) and not self._closing:
            self._buffer = memoryview(self._protocol.get_buffer(sizehint))
        else:
            self._buffer = self._own_buffer
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many have come."""
        self._heard = True
        if self._ended.is_set():
            return
        size, events = self._decoder.receive(self._buffer[:nbytes])
        try:
            if self._protocol is None and self._decoder.opened:
                self._open()
            if size and not self._closing:
                self._deliver(size)
        except Exception as error:
            if not isinstance(error, KtnetError):
                log.exception("the protocol on a port-forward failed")
            self._end(error, cut=True)
        for event in events:
            self._take(event)

    def _open(self) -> None:
        self._protocol = self._protocol_factory()
        self._protocol.connection_made(self)
        self.opened.set_result(self._protocol)

    def _deliver(self, size: int) -> None:
        protocol, buffer = self._protocol, self._buffer
        if buffer is not self._own_buffer:
            protocol.buffer_updated(size)
        elif not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(bytes(buffer[:size]))
        else:
            feed_buffered(protocol, buffer[:size])

    def _take(self, event: Event) -> None:
        match event:
            case Pinged(payload):
                self._write_frame(Opcode.PONG, payload)
            case Failed(reason):
                self._end(TunnelError(f"the port-forward failed: {reason}"))
            case Garbled(fault):
                self._end(RemoteProtocolError(fault), cut=True)
            case Closed():
                self._end(None)

    def eof_received(self) -> None:
        """No goodbye; the connection closes itself after this."""

    def pause_reading(self) -> None:
        """Give the protocol no more for now."""
        self._reading = False
        if self._lower is not None and not self._closing:
            self._lower.pause_reading()

    def resume_reading(self) -> None:
        """Give it what comes again."""
        self._reading = True
        if self._lower is not None and not self._closing:
            self._lower.resume_reading()

    def is_reading(self) -> bool:
        """Whether the protocol gets what comes."""
        return self._reading and not self._closing

    # The beginning and the end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ours."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        self._lower = transport
        # Any byte that is left there blocks. (By TLS's rule that is from `high` on, else above it.)
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("ssl_object") else 0)
        limit_unsent(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: with a goodbye it is our wish, or the server's."""
        if self._lower is None:
            return
        self._connection.connection_lost(exc)
        self._end(None if self._closing else TunnelError("the connection to the API server broke"))
        self._lower = None

    def close(self) -> None:
        """Send what waits, and take leave."""
        if self._closing:
            return
        self._closing = True
        if self._lower is not None:
            self._lower.resume_reading()  # to hear the goodbye
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        """When all is sent. It has surely arrived only when the server has answered."""
        if self._pending or self._last_wait is not None:
            return
        if not self._said_goodbye:
            self._said_goodbye = True
            self._write_frame(Opcode.CLOSE, NORMAL_CLOSURE)
        if not self._blocked:
            self._last_wait = self._loop.call_later(_CLOSE_TIMEOUT_S, self.abort)

    def abort(self) -> None:
        """Cut it; what waits is lost."""
        self._end(None, cut=True)

    def _end(self, error: Exception | None, *, cut: bool = False) -> None:
        """Nothing comes or goes from now on; the protocol hears of it, nobody else."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._closing = True
        self._pending.clear()
        self._pending_size = 0
        if self._last_wait is not None:
            self._last_wait.cancel()
        if not cut and not self._said_goodbye:
            self._write_frame(Opcode.CLOSE, NORMAL_CLOSURE)
        # Not within a call from the connection's transport, which would go on with what is closed.
        self._loop.call_soon(self._leave, error, cut)

    def _leave(self, error: Exception | None, cut: bool) -> None:
        # Never after a close: asyncio's TLS doesn't know then what to abort.
        if cut and self._lower is not None and not self._lower.is_closing():
            self._lower.abort()
        self._connection.close()
        if self._protocol is not None:
            self._protocol.connection_lost(error)
        elif not self.opened.done():
            self.opened.set_exception(error or ClosedEarly())

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closing

    # What it is

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is connected."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Somebody else."""
        self._protocol = protocol
