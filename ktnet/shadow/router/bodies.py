"""Where the body of an HTTP/1 message ends, and what of it goes on.

A body of known length goes on as it came. Chunks are read by llhttp, which refuses what is no
chunk, and written anew: extensions, which nobody may rely on (RFC 9112 section 7.1.1), are left
out, trailers are kept.
"""

from __future__ import annotations

from typing import Protocol

import httptools

from ktnet.wire.http1 import BadMessage, Framing, RequestHead, ResponseHead


class Body(Protocol):
    """A body that is being read."""

    done: bool
    """Its end has been fed."""
    excess: bytes
    """What came behind its end, as far as it can be told."""

    def feed(self, data: bytes) -> bytes:
        """What goes on of it; raises BadMessage."""

    def end(self) -> bool:
        """The peer has closed: whether that is where this body may end."""


def open_body(head: RequestHead | ResponseHead) -> Body | None:
    """The body that follows this head; None where there is none."""
    if head.framing is Framing.LENGTH:
        return LengthBody(head.length) if head.length else None
    if head.framing is Framing.CHUNKED:
        return ChunkedBody(head)
    if head.framing is Framing.UNTIL_CLOSE:
        return EndlessBody()
    return None


class LengthBody:
    """Content-Length octets."""

    def __init__(self, length: int) -> None:
        self.done = False
        self.excess = b""
        self._left = length

    def feed(self, data: bytes) -> bytes:
        """Counts."""
        if len(data) > self._left:
            data, self.excess = data[: self._left], data[self._left :]
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def end(self) -> bool:
        """Octets are missing."""
        return False


class EndlessBody:
    """Until the connection is closed: responses only."""

    done = False
    excess = b""

    def feed(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def end(self) -> bool:
        """This is its end."""
        return True


class ChunkedBody:
    """Chunks and trailers (RFC 9112 section 7.1)."""

    def __init__(self, head: RequestHead | ResponseHead) -> None:
        self.done = False
        self.excess = b""
        self._in_body = False
        self._trailers: list[bytes] = []
        self._out: list[bytes] = []
        is_request = isinstance(head, RequestHead)
        kind = httptools.HttpRequestParser if is_request else httptools.HttpResponseParser
        self._parser = kind(self)
        self._feed(head.raw)
        self._in_body = True

    def feed(self, data: bytes) -> bytes:
        """The same chunks, written plainly."""
        self._feed(data)
        out = b"".join(self._out)
        self._out.clear()
        return out

    def end(self) -> bool:
        """The last chunk is missing."""
        return False

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.done:
                raise BadMessage(f"the chunks are malformed: {error}") from error
            self.excess = b"?"  # no message begins so

    # -- what llhttp calls ---------------------------------------------------------------------

    def on_body(self, data: bytes) -> None:
        """A chunk, or a part of one: parts become chunks of their own."""
        if not self.done:
            self._out += (b"%x\r\n" % len(data), data, b"\r\n")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, which is known, or of the trailers."""
        if self._in_body and not self.done:
            self._trailers.append(b"%s: %s\r\n" % (name, value))

    def on_message_complete(self) -> None:
        """The last chunk and the trailers have come."""
        self.done = True
        self._out += (b"0\r\n", *self._trailers, b"\r\n")

    def on_message_begin(self) -> None:
        """Of this message, or of one that somebody did not wait for."""
        if self.done:
            self.excess = b"?"
