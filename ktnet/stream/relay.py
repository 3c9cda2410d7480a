"""A TCP socket at one side, a flow of the tunnel at the other: bytes, the end of each half, a reset
and "not so fast" go through in either direction.

The shadow has the target's socket here, `ktnet forward` the application's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from ktnet.stream.reset import reset
from ktnet.wire.flow import Flow, OpenFailure

WRITE_BUFFER_BYTES = 256 * 1024
"""Unsent bytes for one socket at which the tunnel is asked to wait: two packets."""


class RelayedSocket(asyncio.Protocol):
    """The socket's side: what the target does, the flow is told."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.flow: Flow | None = None
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; nothing is read before the flow is open."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        # Not here and now: asyncio begins to read right after this call, paused or not.
        asyncio.get_running_loop().call_soon(self._wait_for_flow)

    def _wait_for_flow(self) -> None:
        if self.flow is None and self.transport is not None:
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes from the target."""
        if self.flow is not None:
            self.flow.write(data)

    def eof_received(self) -> bool:
        """FIN from the target; True: go on sending to it."""
        if self.flow is not None:
            self.flow.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Our own close has come through, or (with `exc`) a reset or a time-out came."""
        self.gone = True
        if exc is not None and self.flow is not None:
            self.flow.reset()

    def pause_writing(self) -> None:
        """The target does not read fast enough."""
        if self.flow is not None:
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        if self.flow is not None:
            self.flow.resume_reading()

    def close(self) -> None:
        """Send what is left, then FIN."""
        if self.transport is not None and not self.gone:
            self.transport.close()

    def reset(self) -> None:
        """RST, at once."""
        if self.transport is None or self.gone:
            return
        reset(self.transport)


class RelayReceiver:
    """The flow's side (a `ktnet.wire.flow.Receiver`): what the client does, the socket is told."""

    takes_views = True

    def __init__(self, target: RelayedSocket, transport: asyncio.Transport) -> None:
        self._target = target
        self._transport = transport
        self._fd: int = transport.get_extra_info("socket").fileno()

    def find_ends(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """The socket's other end, and its own; None where it is closed already."""
        there = self._transport.get_extra_info("peername")
        here = self._transport.get_extra_info("sockname")
        return ((there[0], there[1]), (here[0], here[1])) if there and here else None

    def opened(self, flow: Flow) -> None:
        """The client is told that the target is connected."""
        if self._target.gone:
            flow.reset()  # the target went away in between
        else:
            self._target.flow = flow
            self._transport.resume_reading()

    def open_failed(self, _failure: OpenFailure) -> None:
        """Does not come at this end: here is where opening fails."""

    def data_received(self, data: bytes | memoryview) -> None:
        """Bytes from the tunnel: to the kernel at once, and a copy of what it doesn't take."""
        if self._transport.is_closing():
            return  # a reset that we are about to be told of
        if not self._transport.get_write_buffer_size():
            # It has no room, or the transport will find out what is wrong.
            with contextlib.suppress(OSError):
                data = data[os.write(self._fd, data) :]
        if data:
            self._transport.write(bytes(data))

    def eof_received(self) -> None:
        """FIN from the client."""
        if not self._target.gone:
            # A target that has closed both halves resets what comes after, unseen by us: behind
            # its FIN asyncio reads no more.
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def closed(self, *, reset: bool) -> None:
        """The flow is over."""
        self._target.flow = None
        if reset:
            self._target.reset()
        else:
            self._target.close()

    def pause_writing(self) -> None:
        """The client does not read fast enough, or the tunnel is full."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()
