"""Between the byte stream and the SSH library: what both ways of carrying flows share, and the
plain one of them, in which asyncssh does everything.

asyncssh ignores `pause_writing` of its transport. A carrier stands in front of it and turns that
into congestion that the flows see (`ktnet.wire.congestion`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from ktnet.stream.control import ChannelControl, Serve
from ktnet.stream.datapath import DataPath
from ktnet.stream.internals import find_obstacle, is_forced_off
from ktnet.stream.unsent import limit_unsent
from ktnet.wire.channel import ChannelFlow
from ktnet.wire.congestion import HIGH_BYTES, LOW_BYTES, Congestion

Admit = Callable[[], bool]


class Carrier(Protocol):
    """What the flows of a connection and its owner see of it."""

    congestion: Congestion
    heard_s: float
    """When, on the loop's clock, bytes have come last."""

    @property
    def path(self) -> str:
        """ "own" or "asyncssh": whose code moves the bytes of flows."""

    def build_session(self, flow: ChannelFlow) -> Any:
        """What asyncssh is to take for the session of the flow's channel."""

    @property
    def control(self) -> ChannelControl | None:
        """Opens and ends channels; None: asyncssh does."""

    def serve(self, serve: Serve) -> None:
        """Take the peer's requests for `direct-tcpip`, where they aren't asyncssh's to take."""


def build_carrier(ssh: Any, admit: Admit = lambda: True) -> DataPath | PlainCarrier:
    """The protocol for a byte stream that `ssh`, a connection of asyncssh's, is to speak on.

    Where `admit` says no, the stream is cut as soon as it is there.
    """
    if is_forced_off() or find_obstacle() is not None:
        return PlainCarrier(ssh, admit)
    return DataPath(ssh, admit)


class PlainCarrier(asyncio.Protocol):
    """The protocol of the byte stream, wrapped around asyncssh's."""

    path = "asyncssh"
    control: ChannelControl | None = None

    def __init__(self, ssh: Any, admit: Admit = lambda: True) -> None:
        self.congestion = Congestion()
        self._ssh = ssh
        self._admit = admit
        self._admitted = False
        self._now_s = asyncio.get_running_loop().time
        self.heard_s = self._now_s()

    def build_session(self, flow: ChannelFlow) -> Any:
        """The flow itself: it has all of a session's methods."""
        return flow

    def serve(self, serve: Serve) -> None:
        """asyncssh gets them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        if not self._admit():
            transport.abort()
            return
        self._admitted = True
        transport.set_write_buffer_limits(high=HIGH_BYTES, low=LOW_BYTES)
        limit_unsent(transport)
        self._ssh.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """SSH packets."""
        self.heard_s = self._now_s()
        if self._admitted:
            self._ssh.data_received(data)

    def eof_received(self) -> None:
        """The other end of the byte stream."""
        if self._admitted:
            self._ssh.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The byte stream is gone."""
        if self._admitted:
            self._ssh.connection_lost(exc)
        self.congestion.release()

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self.congestion.hold()

    def resume_writing(self) -> None:
        """Most of it has gone."""
        self.congestion.release()
