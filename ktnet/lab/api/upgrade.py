"""An HTTP request that has become a WebSocket: the I/O around `websocket`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Sequence
from typing import Protocol

from aiohttp import web

from ktnet.lab.api.errors import bad_request
from ktnet.lab.api.websocket import (
    FrameReader,
    Opcode,
    Piece,
    ProtocolViolation,
    build_accept,
    build_header,
)

NORMAL = b"\x03\xe8"
"""Close code 1000: the only one that Kubernetes ever sends, whatever the cause."""

CHUNK = 32 * 1024
"""The most that a server puts into one frame, beside the channel's byte."""


class NoCommonSubprotocol(Exception):
    """Of the subprotocols that the client offers, none is known: 403 without a word."""


class Receiver(Protocol):
    """Told what the client sends; all calls come from the event loop."""

    def channel_received(self, channel: int, data: bytes | bytearray, *, first: bool) -> None:
        """Bytes for a channel; `first` begins a message."""

    def client_closed(self) -> None:
        """The client closed the WebSocket, or its connection is gone; said once."""


class WebSocket:
    """The server's end of a WebSocket that carries numbered channels."""

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._transport = request.transport
        self._protocol = request.protocol
        self.response = response
        self._frames = FrameReader()
        self._receiver: Receiver | None = None
        self._channel: int | None = None
        self._over = False
        self._holders: set[int] = set()
        self._passes = asyncio.Event()
        self._passes.set()
        self.moved_s = asyncio.get_running_loop().time()
        """When bytes last passed, on the event loop's clock."""
        self.ended = asyncio.Event()
        """Set when no more can be sent."""

    def start(self, receiver: Receiver) -> None:
        """From now on the receiver hears of what the client sends."""
        self._receiver = receiver
        if self._transport is None or self._transport.is_closing():
            # Gone already: nobody would tell us.
            self._end()
            return
        self._protocol.set_parser(self)  # type: ignore[arg-type]  # quacks like aiohttp's reader

    async def send(self, channel: int, data: bytes) -> None:
        """One message; waits while the client reads too slowly. Does nothing after the end."""
        header = build_header(Opcode.BINARY, len(data) + 1)
        await self._write(b"".join((header, bytes((channel,)), data)))

    async def close(self) -> None:
        """Says goodbye and hangs up."""
        if not self._over:
            self._over = True
            await self._write(build_header(Opcode.CLOSE, len(NORMAL)) + NORMAL, goodbye=True)
        self.ended.set()
        if self._transport is not None:
            self._transport.close()

    def hang_up(self, *, reset: bool) -> None:
        """A fault: the connection ends without a word, by RST or by FIN."""
        if self._transport is not None:
            end_abruptly(self._transport, reset=reset)
        if self._holders:
            # Whoever holds it, the client's own end has to be seen.
            self._holders.clear()
            self._protocol.resume_reading()
        self._end()
        self._passes.set()

    def stall(self) -> None:
        """A fault: nothing passes in either direction until `resume`."""
        self._passes.clear()
        self.hold(self)

    def resume(self) -> None:
        self._passes.set()
        self.release(self)

    def hold(self, holder: object) -> None:
        """Read nothing more from the client until every holder has released it."""
        if not self._holders and not self._over:
            self._protocol.pause_reading()
        self._holders.add(id(holder))

    def release(self, holder: object) -> None:
        if id(holder) in self._holders:
            self._holders.discard(id(holder))
            if not self._holders and not self._over:
                self._protocol.resume_reading()

    async def _write(self, data: bytes, *, goodbye: bool = False) -> None:
        await self._passes.wait()
        if self._over and not goodbye:
            return
        if self._transport is None or self._transport.is_closing():
            # aiohttp would take it, and again and again.
            self._end()
            return
        self.moved_s = asyncio.get_running_loop().time()
        try:
            await self.response.write(data)
        except (ConnectionError, RuntimeError):
            # RuntimeError: aiohttp's for a transport that has been closed meanwhile.
            self._end()

    def _write_now(self, opcode: Opcode, payload: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(build_header(opcode, len(payload)) + payload)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Called by aiohttp with what arrives; (True, _) hangs up."""
        if self.ended.is_set():
            return True, b""
        self.moved_s = asyncio.get_running_loop().time()
        try:
            for piece in self._frames.feed(data):
                self._take(piece)
                if self._over:
                    return True, b""
        except ProtocolViolation:
            self._end()
            return True, b""
        return False, b""

    def feed_eof(self) -> None:
        """Called by aiohttp when the connection is gone."""
        self._end()

    def set_exception(self, *_: object) -> None:
        """Called by aiohttp where a connection breaks in its own hands."""
        self._end()

    def _take(self, piece: Piece) -> None:
        assert self._receiver is not None  # noqa: S101  (start() has been called)
        match piece.opcode:
            case Opcode.PING:
                self._write_now(Opcode.PONG, bytes(piece.data))
            case Opcode.PONG:
                pass
            case Opcode.CLOSE:
                self._write_now(Opcode.CLOSE, NORMAL)
                self._end()
                if self._transport is not None:
                    self._transport.close()
            case _:
                data: bytes | bytearray = piece.data
                first = piece.first
                if first:
                    self._channel = None
                if self._channel is None:
                    if not data:
                        return
                    self._channel, data, first = data[0], data[1:], True
                self._receiver.channel_received(self._channel, data, first=first)

    def _end(self) -> None:
        self.ended.set()
        if not self._over:
            self._over = True
            if self._receiver is not None:
                self._receiver.client_closed()


def end_abruptly(transport: asyncio.Transport, *, reset: bool) -> None:
    """Ends a connection below TLS, as a middlebox or a dying server does."""
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if reset:
            # socket(7): a close with no time to linger sends RST.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            # What the other side does then ends the rest.
            connection.shutdown(socket.SHUT_WR)


def choose_subprotocol(offered: str, known: Sequence[str]) -> str | None:
    """The first known one that is offered, in the server's order of preference.

    Empty where none was offered; None where none of those offered is known.
    """
    names = [name.strip() for name in offered.split(",") if name.strip()]
    if not names:
        return ""
    return next((name for name in known if name in names), None)


def is_websocket(request: web.BaseRequest) -> bool:
    tokens = {each.strip().lower() for each in request.headers.get("Connection", "").split(",")}
    return "upgrade" in tokens and request.headers.get("Upgrade", "").lower() == "websocket"


async def upgrade(request: web.BaseRequest, known: Sequence[str]) -> tuple[WebSocket, str]:
    """Answers 101; gives the WebSocket and the chosen subprotocol.

    Raises ApiError 400 for a request that is no WebSocket handshake, NoCommonSubprotocol.
    """
    if not is_websocket(request):
        raise bad_request("Upgrade request required")
    subprotocol = choose_subprotocol(request.headers.get("Sec-WebSocket-Protocol", ""), known)
    if subprotocol is None:
        raise NoCommonSubprotocol
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": build_accept(request.headers.get("Sec-WebSocket-Key", "")),
        # Also where nothing was offered: then it is empty.
        "Sec-WebSocket-Protocol": subprotocol,
    }
    response = web.StreamResponse(status=101, headers=headers)
    response.force_close()
    await response.prepare(request)
    request.protocol.keep_alive(False)
    return WebSocket(request, response), subprotocol
