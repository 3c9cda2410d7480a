"""The server's half of WebSocket, sans I/O: bytes in, pieces of frames out (RFC 6455).

Every frame is a message of its own to the servers that Kubernetes builds on
(golang.org/x/net/websocket): the first byte of each fragment is read as a channel number. A client
that fragments must fail here too. Payloads are handed on as they come, never gathered: a message
may be of any size.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import struct
from dataclasses import dataclass

# Private, but the only unmasking in C that comes with what is installed anyway: 15 GB/s, where
# the best in Python reach 0.6.
from aiohttp._websocket.helpers import websocket_mask

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MOST_CONTROL_BYTES = 125


class Opcode(enum.IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class ProtocolViolation(Exception):
    """The client sent what RFC 6455 does not allow."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of one frame's payload, unmasked; control frames always come whole."""

    opcode: Opcode
    data: bytes | bytearray
    first: bool


def build_accept(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def build_header(opcode: Opcode, length: int) -> bytes:
    """Of an unfragmented, unmasked frame (RFC 6455 section 5.2)."""
    first = 0x80 | opcode
    if length < 126:
        return struct.pack("!BB", first, length)
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


class FrameReader:
    """Cuts a client's bytes into pieces of frames."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._opcode = Opcode.BINARY
        self._mask = b""
        self._left = 0
        self._first = False
        self._control = bytearray()

    def feed(self, data: bytes) -> list[Piece]:
        """Raises ProtocolViolation; then nothing more may be fed."""
        pieces: list[Piece] = []
        view = memoryview(data)
        while view.nbytes:
            if not self._mask:
                view, begun = self._read_header(view)
                if begun and not self._left:
                    self._finish(pieces, bytearray())
                continue
            taken = bytearray(view[: self._left])
            view = view[len(taken) :]
            websocket_mask(self._mask, taken)
            turn = len(taken) % 4
            self._mask = self._mask[turn:] + self._mask[:turn]
            self._left -= len(taken)
            self._finish(pieces, taken)
        return pieces

    def _finish(self, pieces: list[Piece], data: bytearray) -> None:
        """Hands on what there is of a frame, and ends the frame where that was all of it."""
        if self._opcode >= Opcode.CLOSE:
            self._control += data
            if not self._left:
                pieces.append(Piece(self._opcode, bytes(self._control), first=True))
                self._control.clear()
        else:
            pieces.append(Piece(self._opcode, data, first=self._first))
            self._first = False
        if not self._left:
            self._mask = b""

    def _read_header(self, view: memoryview) -> tuple[memoryview, bool]:
        """Takes up to one header off the view; true once it is complete and a frame begins."""
        header = self._header
        while view.nbytes:
            missing = _header_length(header) - len(header)
            header += view[:missing]
            view = view[missing:]
            if len(header) == _header_length(header) > 2:
                self._begin_frame(bytes(header))
                header.clear()
                return view, True
        return view, False

    def _begin_frame(self, header: bytes) -> None:
        first, second = header[0], header[1]
        if first & 0x70:
            raise ProtocolViolation("reserved bits are set")
        try:
            self._opcode = Opcode(first & 0x0F)
        except ValueError:
            raise ProtocolViolation(f"unknown opcode {first & 0x0F}") from None
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack_from("!H", header, 2)
        elif length == 127:
            (length,) = struct.unpack_from("!Q", header, 2)
        if length >= 1 << 63:
            raise ProtocolViolation("impossible length")
        if self._opcode >= Opcode.CLOSE and (length > MOST_CONTROL_BYTES or not first & 0x80):
            raise ProtocolViolation("a control frame is too long or fragmented")
        self._mask = header[-4:]
        self._left = length
        self._first = True


def _header_length(header: bytearray) -> int:
    """How long this header will be, as far as one can see by now."""
    if len(header) < 2:
        return 2
    if not header[1] & 0x80:
        raise ProtocolViolation("a client's frame must be masked")
    return 6 + {126: 2, 127: 8}.get(header[1] & 0x7F, 0)
