"""Between the byte stream to the shadow and the SSH library: watches how much waits to be sent.

asyncssh ignores `pause_writing` of its transport. The carrier stands in front of it and turns
that into congestion that the flows see (`ktnet.wire.congestion`). It is also the place where a
record layer of our own can take over channel data, without anything above noticing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncssh

from ktnet.wire.congestion import HIGH_BYTES, LOW_BYTES, Congestion

Connector = Callable[
    [Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.Transport, asyncio.Protocol]]
]
"""Dials the byte stream to the shadow and hands it to the protocol that the factory makes, just as
`loop.create_connection` does; its own errors are KtnetError or OSError."""


class Carrier(asyncio.Protocol):
    """The protocol of the byte stream, wrapped around asyncssh's."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, congestion: Congestion) -> None:
        self._ssh = ssh
        self._congestion = congestion

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Dialled."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        transport.set_write_buffer_limits(high=HIGH_BYTES, low=LOW_BYTES)
        self._ssh.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """SSH packets."""
        self._ssh.data_received(data)

    def eof_received(self) -> None:
        """The shadow's end of the byte stream."""
        self._ssh.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The byte stream is gone."""
        self._ssh.connection_lost(exc)
        self._congestion.release()

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._congestion.hold()

    def resume_writing(self) -> None:
        """Most of it has gone."""
        self._congestion.release()


class Dialled:
    """What asyncssh calls a tunnel: something else to make its connection with."""

    def __init__(self, connect: Connector, congestion: Congestion) -> None:
        self._connect = connect
        self._congestion = congestion

    async def create_connection(
        self,
        session_factory: Callable[[], asyncssh.SSHClientConnection],
        _remote_host: str,
        _remote_port: int,
    ) -> tuple[asyncio.Transport, asyncssh.SSHClientConnection]:
        """Dial, with the carrier in between."""
        ssh = session_factory()
        transport, _ = await self._connect(lambda: Carrier(ssh, self._congestion))
        return transport, ssh
