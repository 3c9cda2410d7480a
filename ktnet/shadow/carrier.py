"""Between the listening socket and the SSH library: watches how much waits to be sent.

asyncssh ignores `pause_writing` of its transport. The carrier stands in front of it and turns
that into congestion that the flows of the connection see (`ktnet.wire.congestion`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncssh

from ktnet.wire.congestion import HIGH_BYTES, LOW_BYTES, Congestion

CONGESTION = "congestion"
"""Under this name the SSH connection's extra info has its carrier's Congestion."""

MOST_UNAUTHENTICATED = 32
"""Connections that have not yet shown the right key. With `--bind` to the pod's address every pod
of the cluster may come; each can stay for the log-in time only."""


class Admission:
    """Counts the connections that have not authenticated."""

    def __init__(self) -> None:
        self.unauthenticated = 0


class Carrier(asyncio.Protocol):
    """The protocol of one accepted connection, wrapped around asyncssh's."""

    def __init__(self, ssh: asyncssh.SSHServerConnection, admission: Admission) -> None:
        self._ssh = ssh
        self._admission = admission
        self._admitted = False
        self._congestion = Congestion()
        ssh.set_extra_info(**{CONGESTION: self._congestion})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        if self._admission.unauthenticated >= MOST_UNAUTHENTICATED:
            transport.abort()
            return
        self._admitted = True
        transport.set_write_buffer_limits(high=HIGH_BYTES, low=LOW_BYTES)
        self._ssh.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """SSH packets."""
        if self._admitted:
            self._ssh.data_received(data)

    def eof_received(self) -> None:
        """The client's end of the byte stream."""
        if self._admitted:
            self._ssh.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The byte stream is gone."""
        if self._admitted:
            self._ssh.connection_lost(exc)
        self._congestion.release()

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._congestion.hold()

    def resume_writing(self) -> None:
        """Most of it has gone."""
        self._congestion.release()


class Listener:
    """What asyncssh calls a tunnel: something else to make its listening socket with."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def create_server(
        self,
        session_factory: Callable[[str, int], asyncssh.SSHServerConnection],
        listen_host: str,
        listen_port: int,
    ) -> asyncio.Server:
        """Listen on exactly this address. OSError where that is not possible."""
        return await asyncio.get_running_loop().create_server(
            lambda: Carrier(session_factory("", 0), self._admission), listen_host, listen_port
        )
