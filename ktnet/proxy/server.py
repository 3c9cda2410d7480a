"""Accepts clients, has their handshake read, and joins each to a flow through the tunnel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ktnet.errors import Conflict, UsageError
from ktnet.proxy.handshake import Credentials, Handshake, Refused, Request
from ktnet.proxy.http import HttpProxy
from ktnet.proxy.socks5 import VERSION, Socks5
from ktnet.stream.joining import Half, join
from ktnet.stream.socketflow import SocketFlow
from ktnet.wire.flow import Dialer, Flow, OpenFailure, Opening

HANDSHAKE_TIME_S = 30.0
"""For a client to say where it wants to go; a person typing HTTP by hand takes longer."""

LINGER_S = 2.0
"""For a refused client to read why, before a reset could overtake it."""


@dataclass
class Counters:
    """What became of the clients."""

    open: int = 0
    served: int = 0
    refused: int = 0
    failed: int = 0


class ProxyServer:
    """A listening proxy."""

    def __init__(
        self, dialer: Dialer, credentials: Credentials | None, clients: set[_Client]
    ) -> None:
        self.address: tuple[str, int] = ("", 0)
        self.counters = Counters()
        self.dialer = dialer
        self.credentials = credentials
        self.clients = clients


class _Client(SocketFlow):
    """A connection to the proxy, until it has been joined to the tunnel and beyond."""

    def __init__(self, server: ProxyServer) -> None:
        super().__init__()
        self._server = server
        self._handshake: Handshake | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._far: _Far | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        super().connection_made(transport)
        self._server.clients.add(self)
        self._server.counters.open += 1
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_TIME_S, self.reset)

    def data_received(self, data: bytes) -> None:
        """The handshake, then what goes through."""
        if self.receiver is not None:
            super().data_received(data)
        elif self._far is not None:
            self._far.early.append(data)  # it is paused, so this is little
        elif not self._refused:
            self._shake_hands(data)

    def eof_received(self) -> bool:
        """During the handshake that is the end; while the target is dialled it is kept for it."""
        if self.receiver is None and self._far is not None:
            self._far.ended_early = True
        elif self.receiver is None:
            self.write_eof()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Over."""
        if self._timer is not None:
            self._timer.cancel()
        self._server.clients.discard(self)
        self._server.counters.open -= 1
        if self._far is not None and self.receiver is None:
            self._far.opening.cancel()
        super().connection_lost(exc)

    def abandon(self) -> None:
        """The proxy ends."""
        if self.receiver is not None:
            self.receiver.closed(reset=True)
        self.reset()

    def _shake_hands(self, data: bytes) -> None:
        if self._handshake is None:
            kind = Socks5 if data[0] == VERSION else HttpProxy
            self._handshake = kind(self._server.credentials)
        try:
            answer = self._handshake.feed(data)
        except Refused as error:
            self._server.counters.refused += 1
            self.end_with(error.answer)
            return
        if answer:
            self.write(answer)
        if self._handshake.request is not None:
            if self._timer is not None:
                self._timer.cancel()
            self.pause_reading()
            self._far = _Far(self, self._handshake, self._handshake.request, self._server)

    def end_with(self, answer: bytes) -> None:
        """Say why, and end."""
        self._refused = True
        self.write(answer)
        self.write_eof()
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, self.reset)

    def joined(self, half: Half) -> None:
        """From now on it is bytes."""
        self.receiver = half
        self.resume_reading()


class _Far:
    """The flow through the tunnel (a `ktnet.wire.flow.Receiver`), until it is joined."""

    def __init__(
        self, client: _Client, handshake: Handshake, request: Request, server: ProxyServer
    ) -> None:
        self.early = [request.first] if request.first else []
        self.ended_early = False
        self._client = client
        self._handshake = handshake
        self._counters = server.counters
        self._half: Half | None = None
        self.opening: Opening = server.dialer.open_tcp(
            request.host, request.port, client.peer, self
        )

    def opened(self, flow: Flow) -> None:
        """The target is connected."""
        self._counters.served += 1
        near, self._half = join(self._client, flow)
        if answer := self._handshake.accept():
            self._client.write(answer)
        for data in self.early:
            flow.write(data)
        if self.ended_early:
            flow.write_eof()
        self._client.joined(near)

    def open_failed(self, failure: OpenFailure) -> None:
        """It is not."""
        self._counters.failed += 1
        self._client.end_with(self._handshake.refuse(failure))

    def data_received(self, data: bytes) -> None:
        """On to the half that it has become."""
        if self._half is not None:
            self._half.data_received(data)

    def eof_received(self) -> None:
        """On to the half that it has become."""
        if self._half is not None:
            self._half.eof_received()

    def closed(self, *, reset: bool) -> None:
        """On to the half that it has become."""
        if self._half is not None:
            self._half.closed(reset=reset)

    def pause_writing(self) -> None:
        """On to the half that it has become."""
        if self._half is not None:
            self._half.pause_writing()

    def resume_writing(self) -> None:
        """On to the half that it has become."""
        if self._half is not None:
            self._half.resume_writing()


@asynccontextmanager
async def open_proxy_server(
    address: str, port: int, dialer: Dialer, credentials: Credentials | None = None
) -> AsyncIterator[ProxyServer]:
    """Listen on address:port (0: any free one) until the context is left.

    Raises Conflict where somebody else listens there, UsageError where nobody can.
    """
    clients: set[_Client] = set()
    server = ProxyServer(dialer, credentials, clients)
    try:
        listening = await asyncio.get_running_loop().create_server(
            lambda: _Client(server), address, port
        )
    except OSError as error:
        kind = Conflict if error.errno == 98 else UsageError
        raise kind(
            f"can't listen on {address}:{port}: {error.strerror}",
            hint="choose another address or port with --listen",
        ) from error
    server.address = listening.sockets[0].getsockname()[:2]
    try:
        yield server
    finally:
        listening.close()
        for client in list(clients):
            client.abandon()
