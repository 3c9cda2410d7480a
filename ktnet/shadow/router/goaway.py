"""GOAWAY, taken out of a stream of HTTP/2 frames: pure.

RFC 9113 section 6.8 lets the streams up to the named one go on; the h2 library takes the whole
connection for closed, whoever sent it. gRPC servers send it to every connection that has grown
old, so here it never reaches that library.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER_BYTES = 9
_GOAWAY = 7
_MAX_GOAWAY_BYTES = 16384
"""The frame size that everybody takes; nobody has been allowed to send more."""

HIGHEST_STREAM = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Goaway:
    """The other side takes no streams above `last_stream` any more."""

    last_stream: int
    error_code: int


def build_goaway(last_stream: int, error_code: int = 0) -> bytes:
    """The frame."""
    payload = struct.pack(">II", last_stream, error_code)
    return struct.pack(">BHBBI", 0, len(payload), _GOAWAY, 0, 0) + payload


class GoawayFilter:
    """Splits what comes in from one side."""

    def __init__(self, preface_bytes: int = 0) -> None:
        """`preface_bytes` come before the first frame."""
        self._passing = preface_bytes
        self._held = b""  # a frame's header, or a GOAWAY, that is not complete yet

    def feed(self, data: bytes) -> list[bytes | Goaway]:
        """The same bytes, frames in order; a GOAWAY is told instead of passed."""
        data = self._held + data
        self._held = b""
        found: list[bytes | Goaway] = []
        start = position = 0
        while True:
            step = min(self._passing, len(data) - position)
            position += step
            self._passing -= step
            rest = len(data) - position
            if self._passing or not rest:
                break
            if rest < _HEADER_BYTES:
                self._held = data[position:]
                break
            size = _HEADER_BYTES + int.from_bytes(data[position : position + 3])
            if data[position + 3] != _GOAWAY or size > _MAX_GOAWAY_BYTES:
                self._passing = size
                continue
            if rest < size:
                self._held = data[position:]
                break
            if position > start:
                found.append(data[start:position])
            payload = data[position + _HEADER_BYTES : position + size]
            if len(payload) >= 8:
                last, code = struct.unpack_from(">II", payload)
                found.append(Goaway(last & HIGHEST_STREAM, code))
            position += size
            start = position
        if position > start:
            found.append(data[start:position])
        return found
