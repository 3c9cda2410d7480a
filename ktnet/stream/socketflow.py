"""A TCP socket as a flow (`ktnet.wire.flow`), on a transport of asyncio's: works where there is no
epoll, and for whoever has to read before it knows what the connection is for.
`ktnet.stream.polledflow` costs less.
"""

from __future__ import annotations

import asyncio
import contextlib

from ktnet.stream.reset import reset
from ktnet.wire.flow import Receiver

WRITE_BUFFER_BYTES = 256 * 1024
"""Unsent bytes at which the near side is asked to wait."""


class SocketFlow(asyncio.Protocol):
    """Bytes, both halves' ends and resets of a socket, for one receiver."""

    def __init__(self, receiver: Receiver | None = None) -> None:
        """`receiver` may be set later, until the connection has been made."""
        self.receiver = receiver
        self.peer: tuple[str, int] = ("", 0)
        self._transport: asyncio.Transport | None = None
        self._eof_sent = False
        self._eof_received = False
        self._over = False

    # -- what the socket does ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        host, port = transport.get_extra_info("peername", ("", 0))[:2]
        self.peer = (host, port)
        if self.receiver is not None:
            self.receiver.opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the other side."""
        if not self._over and self.receiver is not None:
            self.receiver.data_received(data)

    def eof_received(self) -> bool:
        """FIN; True: go on sending."""
        self._eof_received = True
        if not self._over and self.receiver is not None:
            self.receiver.eof_received()
            self._close_if_both_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Our own close has come through, or a reset or a time-out came."""
        if not self._over and self.receiver is not None:
            self._over = True
            self.receiver.closed(
                reset=exc is not None or not (self._eof_sent and self._eof_received)
            )
        self._over = True

    def pause_writing(self) -> None:
        """The other side does not read fast enough."""
        if not self._over and self.receiver is not None:
            self.receiver.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        if not self._over and self.receiver is not None:
            self.receiver.resume_writing()

    # -- what the near side says ---------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Send."""
        if self._transport is not None and not self._over:
            self._transport.write(bytes(data))  # a transport may keep what it is given

    def write_eof(self) -> None:
        """Send FIN behind what was written."""
        if self._transport is None or self._over or self._eof_sent:
            return
        self._eof_sent = True
        with contextlib.suppress(OSError):  # reset meanwhile: connection_lost says so
            self._transport.write_eof()
        self._close_if_both_ended()

    def reset(self) -> None:
        """RST, at once; nothing once the socket is closed."""
        if self._transport is None or self._transport.is_closing():
            return
        self._over = True
        reset(self._transport)

    def pause_reading(self) -> None:
        """Leave what comes in the kernel, and then with its sender."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _close_if_both_ended(self) -> None:
        if self._eof_sent and self._eof_received and self._transport is not None:
            self._transport.close()  # sends what is left first
