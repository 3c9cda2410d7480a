"""Dials the byte stream to the shadow, and puts a carrier between it and the SSH library."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncssh

from ktnet.stream.carrier import Carrier, build_carrier

Connector = Callable[
    [Callable[[], asyncio.BaseProtocol]], Awaitable[tuple[asyncio.Transport, asyncio.BaseProtocol]]
]
"""Dials the byte stream to the shadow and hands it to the protocol that the factory makes, just as
`loop.create_connection` does; its own errors are KtnetError or OSError."""


class Dialled:
    """What asyncssh calls a tunnel: something else to make its connection with."""

    def __init__(self, connect: Connector) -> None:
        self._connect = connect
        self.carrier: Carrier | None = None

    async def create_connection(
        self,
        session_factory: Callable[[], asyncssh.SSHClientConnection],
        _remote_host: str,
        _remote_port: int,
    ) -> tuple[asyncio.Transport, asyncssh.SSHClientConnection]:
        """Dial, with the carrier in between."""
        ssh = session_factory()
        carrier = build_carrier(ssh)
        transport, _ = await self._connect(lambda: carrier)
        self.carrier = carrier
        return transport, ssh
