"""The frames of a WebSocket as its client meets them (RFC 6455), without any I/O.

A server's frames are read where they lie: what is handed on are places in the buffer that was
read into, as much of a frame as is there, so that nobody has to wait for a whole message or to
hold one. Masking isn't done here: it is the client's alone, and a C function's.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ktnet.errors import RemoteProtocolError

MASK_BYTES = 4
NORMAL_CLOSURE = b"\x03\xe8"
"""The payload of a close frame: 1000, section 7.4.1."""

_FINAL, _RESERVED, _OPCODE = 0x80, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_LENGTH_16, _LENGTH_64 = 126, 127
_MOST_CONTROL_BYTES = 125
_FIRST_CONTROL = 8
_NO_FRAME = -1
_LEAST_HEADER_BYTES, _MOST_HEADER_BYTES = 2, 10
_HEADER_BYTES = [2] * _LENGTH_16 + [4, _MOST_HEADER_BYTES]
"""By the length that stands in the second byte: longer ones follow, in two bytes or eight."""


class Opcode(enum.IntEnum):
    """What a frame is (section 5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_OPCODES = {int(opcode): opcode for opcode in Opcode}


class Piece(NamedTuple):
    """Some of a message's bytes; empty only where a frame is."""

    kind: Opcode
    """TEXT or BINARY, whichever frame of the message this is in."""
    begin: int
    end: int
    """Where they are in what was fed."""
    starts: bool
    """They are the first bytes of the message's first frame."""
    ends: bool
    """They are the last ones of its last."""


class Control(NamedTuple):
    """A control frame, whole."""

    kind: Opcode
    payload: bytes


def build_client_header(opcode: Opcode, payload_bytes: int, key: bytes) -> bytes:
    """The header of an unfragmented frame whose payload is masked with `key`."""
    first = _FINAL | opcode
    if payload_bytes < _LENGTH_16:
        return struct.pack("!BB", first, _MASKED | payload_bytes) + key
    if payload_bytes < 1 << 16:
        return struct.pack("!BBH", first, _MASKED | _LENGTH_16, payload_bytes) + key
    return struct.pack("!BBQ", first, _MASKED | _LENGTH_64, payload_bytes) + key


class FrameReader:
    """Finds the frames in what a server sends, cut in any way."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = _NO_FRAME
        """Bytes of the frame's payload that haven't come."""
        self._opcode = Opcode.CONTINUATION
        self._is_control = False
        self._final = True
        self._message: Opcode | None = None
        """The kind of the message that has begun and not ended."""
        self._starts = False
        self._control = bytearray()

    def feed(self, data: memoryview) -> Iterator[Piece | Control]:
        """What is in the next bytes; to be iterated to its end before the next are fed.

        Bytes before a place that was handed on may be changed meanwhile. Raises
        RemoteProtocolError for what a server may not send; nothing may be fed after that.
        """
        at, size = 0, len(data)
        while at < size:
            if self._left == _NO_FRAME:
                at = self._read_header(data, at)
                if self._left != 0:
                    continue
            count = min(self._left, size - at)
            self._left -= count
            if done := self._left == 0:
                self._left = _NO_FRAME
            if not self._is_control:
                yield self._build_piece(at, at + count, done=done)
            else:
                self._control += data[at : at + count]
                if done:
                    yield self._finish_control()
            at += count

    def _read_header(self, data: memoryview, at: int) -> int:
        """Take what there is of a header; where that was all of it, a frame begins."""
        header = self._header
        if not header and len(data) - at >= _MOST_HEADER_BYTES:
            end = at + _HEADER_BYTES[data[at + 1] & _LENGTH]
            self._begin_frame(bytes(data[at:end]))
            return end
        while at < len(data):
            header.append(data[at])
            at += 1
            if len(header) < _LEAST_HEADER_BYTES:
                continue
            _check_beginning(header[0], header[1])
            if len(header) == _HEADER_BYTES[header[1] & _LENGTH]:
                self._begin_frame(bytes(header))
                header.clear()
                break
        return at

    def _begin_frame(self, header: bytes) -> None:
        first = header[0]
        _check_beginning(first, header[1])
        opcode = self._opcode = _OPCODES[first & _OPCODE]
        self._is_control = first & _FIRST_CONTROL > 0
        self._final = first >= _FINAL
        self._left = _parse_length(header)
        if self._is_control:
            if not self._final or self._left > _MOST_CONTROL_BYTES:
                raise RemoteProtocolError("the server sent a control frame long or in parts")
            return
        if (opcode is Opcode.CONTINUATION) != (self._message is not None):
            raise RemoteProtocolError("the server mixed up the parts of WebSocket messages")
        self._starts = self._message is None
        if self._starts:
            self._message = opcode

    def _build_piece(self, begin: int, end: int, *, done: bool) -> Piece:
        assert self._message is not None  # noqa: S101  (a data frame has begun)
        ends = self._final and done
        piece = Piece(self._message, begin, end, self._starts, ends)
        self._starts = False
        if ends:
            self._message = None
        return piece

    def _finish_control(self) -> Control:
        payload = bytes(self._control)
        self._control.clear()
        if self._opcode is Opcode.CLOSE:
            _check_close(payload)
        return Control(self._opcode, payload)


def _check_beginning(first: int, second: int) -> None:
    """What the first two bytes may say, before the length that they announce has come."""
    if first & _RESERVED or second & _MASKED or first & _OPCODE not in _OPCODES:
        raise RemoteProtocolError("the server sent a WebSocket frame that nobody knows")


def _parse_length(header: bytes) -> int:
    """A frame's, which has to be written in the shortest way (section 5.2)."""
    length = header[1] & _LENGTH
    if length < _LENGTH_16:
        return length
    long = int.from_bytes(header[2:], "big")
    if long < (_LENGTH_16 if length == _LENGTH_16 else 1 << 16) or long >= 1 << 63:
        raise RemoteProtocolError("the server sent an impossible length of a WebSocket frame")
    return long


def _check_close(payload: bytes) -> None:
    """Nothing, or a code that may be sent and a text (sections 5.5.1 and 7.4)."""
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    reserved = code in {1004, 1005, 1006, 1015} or 1015 < code < 3000
    if len(payload) < 2 or not 1000 <= code < 5000 or reserved:
        raise RemoteProtocolError("the server closed the WebSocket with an impossible code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("the server closed the WebSocket with broken text") from None
