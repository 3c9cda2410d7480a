"""A local port whose every connection is a flow to one place at the far side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ktnet.stream.relay import RelayedSocket, RelayReceiver
from ktnet.wire.flow import Dialer, OpenFailure, Opening

BACKLOG = 4096
"""Connections that the kernel may hold for us; it takes no more than net.core.somaxconn."""

Failed = Callable[[OpenFailure], object]


class AcceptedSocket(RelayedSocket):
    """An application's connection, which waits for its flow."""

    def __init__(self, dialer: Dialer, target: tuple[str, int], failed: Failed) -> None:
        super().__init__()
        self._dialer = dialer
        self._target = target
        self._failed = failed
        self._opening: Opening | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted: have the far side connect."""
        super().connection_made(transport)
        assert self.transport is not None  # noqa: S101  (narrows the type)
        peer = transport.get_extra_info("peername") or ("127.0.0.1", 0)
        receiver = AcceptedReceiver(self, self.transport)
        self._opening = self._dialer.open_tcp(*self._target, (peer[0], peer[1]), receiver)

    def connection_lost(self, exc: Exception | None) -> None:
        """The application is gone, perhaps before its flow was there."""
        super().connection_lost(exc)
        if self._opening is not None and self.flow is None:
            self._opening.cancel()

    def open_failed(self, failure: OpenFailure) -> None:
        """The kernel has accepted already: a reset is as near as one comes to a refusal."""
        self._failed(failure)
        self.reset()


class AcceptedReceiver(RelayReceiver):
    """The flow's side of an accepted connection."""

    def __init__(self, accepted: AcceptedSocket, transport: asyncio.Transport) -> None:
        super().__init__(accepted, transport)
        self._accepted = accepted

    def open_failed(self, failure: OpenFailure) -> None:
        """The far side could not connect."""
        self._accepted.open_failed(failure)


@asynccontextmanager
async def open_listener(
    address: str,
    port: int,
    dialer: Dialer,
    target: tuple[str, int],
    failed: Failed = lambda _: None,
) -> AsyncIterator[int]:
    """Listen on address:port (0: any free one) and relay to `target` (host, port) through `dialer`.

    Yields the port. `failed` hears of each connection that the far side could not make; the
    application sees it reset. OSError where the address is taken or not this machine's.
    """
    server = await asyncio.get_running_loop().create_server(
        lambda: AcceptedSocket(dialer, target, failed), address, port, backlog=BACKLOG
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
