"""One port of the meshed Service: accepts, finds out what is spoken, and hands over."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

from ktnet.shadow.router.http1 import Http1Connection
from ktnet.shadow.router.http2 import Http2Connection
from ktnet.shadow.router.routes import Routes
from ktnet.shadow.router.sniff import Spoken, sniff
from ktnet.stream.accepting import BACKLOG
from ktnet.stream.joining import Passage
from ktnet.stream.socketflow import SocketFlow
from ktnet.wire.flow import Receiver

SILENCE_S = 0.2
"""A client that says nothing for so long waits for the server to speak first, as in the protocols
of databases and mail."""


class Expected(enum.Enum):
    """What the Service's `appProtocol` says of the port.
    https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol
    """

    HTTP = enum.auto()
    """Never silence: a client that is slow to ask is waited for."""
    BYTES = enum.auto()
    """Nothing that can be routed by request."""
    UNKNOWN = enum.auto()


def parse_app_protocol(text: str | None) -> Expected:
    """`appProtocol` of a Service's port."""
    name = (text or "").lower().removeprefix("kubernetes.io/")
    if not name:
        return Expected.UNKNOWN
    return Expected.HTTP if name in ("http", "http2", "h2c", "grpc", "ws") else Expected.BYTES


class Clients:
    """Those that are connected."""

    def __init__(self) -> None:
        self._connected: set[Client] = set()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self.are_draining = False
        """Whether they are to take their next requests elsewhere, those to come included."""

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._connected))

    def __len__(self) -> int:
        return len(self._connected)

    def add(self, client: Client) -> None:
        """It has come."""
        self._connected.add(client)
        self._nobody.clear()

    def discard(self, client: Client) -> None:
        """It has gone."""
        self._connected.discard(client)
        if not self._connected:
            self._nobody.set()

    async def wait_gone(self) -> None:
        """Until nobody is connected."""
        await self._nobody.wait()


class Client(SocketFlow):
    """A connection from a client in the cluster."""

    def __init__(self, routes: Routes, expected: Expected, clients: Clients) -> None:
        super().__init__()
        self._routes = routes
        self._expected = expected
        self._clients = clients
        self._first = b""
        self._silence: asyncio.TimerHandle | None = None
        self._tentative: Passage | None = None
        """To the origin, while neither it nor the client has said a word."""

    def drain(self) -> None:
        """Make it take its next request elsewhere, as far as its protocol can say so."""
        if isinstance(self.receiver, Http1Connection | Http2Connection):
            self.receiver.drain()

    def finish(self) -> None:
        """Leave it, unless it waits for something; what isn't HTTP may always do."""
        if isinstance(self.receiver, Http1Connection | Http2Connection):
            self.receiver.finish()

    def abandon(self) -> None:
        """End it, and what was opened for it."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.closed(reset=True)
        self.reset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        super().connection_made(transport)
        self._clients.add(self)
        if self._expected is Expected.BYTES:
            self._hand_over(Spoken.OTHER)
        elif self._expected is Expected.UNKNOWN:
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(SILENCE_S, self._let_origin_begin)

    def data_received(self, data: bytes) -> None:
        """Until it is known what they are, the first bytes are kept."""
        if self.receiver is not None and self._tentative is None:
            super().data_received(data)
            return
        self._hush()
        self._first += data
        spoken = sniff(self._first)
        if spoken is Spoken.OTHER and self._tentative is not None:
            self._settle()
        elif spoken is not None:
            self._withdraw()
            self._hand_over(spoken)

    def write(self, data: bytes | memoryview) -> None:
        """To the client. A server that speaks first speaks nothing that can be routed."""
        if self._tentative is not None:
            self._settle()
        super().write(data)

    def write_eof(self) -> None:
        """To the client, too."""
        if self._tentative is not None:
            self._settle()
        super().write_eof()

    def eof_received(self) -> bool:
        """A client that ends before that speaks nothing that can be routed."""
        if self._tentative is not None:
            self._settle()
        elif self.receiver is None:
            self._hand_over(Spoken.OTHER)
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Over."""
        self._hush()
        self._clients.discard(self)
        super().connection_lost(exc)

    def _hush(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _let_origin_begin(self) -> None:
        """The client is silent: it is connected to the origin, which may want to speak first."""
        self._silence = None
        self._tentative = Passage(self, partial(self._routes.origin.open, self.peer))
        self.receiver = self._tentative

    def _settle(self) -> None:
        """So it is the origin's."""
        passage, self._tentative = self._tentative, None
        first, self._first = self._first, b""
        if passage is not None and first:
            passage.data_received(first)

    def _withdraw(self) -> None:
        """It was a slow client of HTTP, after all."""
        passage, self._tentative = self._tentative, None
        if passage is not None:
            self.receiver = None
            passage.closed(reset=True)
            self.resume_reading()

    def _hand_over(self, spoken: Spoken) -> None:
        self._hush()
        first, self._first = self._first, b""
        call_later = asyncio.get_running_loop().call_later
        receiver: Receiver
        if spoken is Spoken.HTTP1:
            receiver = Http1Connection(self, self._routes, self.peer, call_later)
        elif spoken is Spoken.HTTP2:
            receiver = Http2Connection(self, self._routes, self.peer, call_later)
        else:
            receiver = Passage(self, partial(self._routes.origin.open, self.peer))
        self.receiver = receiver
        if self._clients.are_draining:
            self.drain()
        if first:
            receiver.data_received(first)


class RouterPort:
    """A port that is being served."""

    def __init__(self, server: asyncio.Server, clients: Clients) -> None:
        self._server = server
        self._clients = clients

    @property
    def number(self) -> int:
        """The port that it listens on."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Clients that are connected."""
        return len(self._clients)

    async def wait_gone(self) -> None:
        """Until no client is connected."""
        await self._clients.wait_gone()

    async def drain(self, timeout_s: float, accept_on_s: float = 0.0) -> None:
        """Let the clients go to other routers, then accept no more, then end those that are left.

        For `accept_on_s` those may still come that haven't heard yet that they shouldn't; after
        that, clients that wait for nothing are left. Without, they may wait as long as others.
        """
        self._clients.are_draining = True
        for client in self._clients:
            client.drain()
        if accept_on_s:
            await asyncio.sleep(accept_on_s)
            for client in self._clients:
                client.finish()
        self._server.close()
        try:
            async with asyncio.timeout(timeout_s):
                await self._clients.wait_gone()
        except TimeoutError:
            for client in self._clients:
                client.abandon()


@asynccontextmanager
async def open_router_port(
    address: str, port: int, routes: Routes, expected: Expected
) -> AsyncIterator[RouterPort]:
    """Listen on address:port (0: any free one). OSError where that is not possible."""
    clients = Clients()
    server = await asyncio.get_running_loop().create_server(
        lambda: Client(routes, expected, clients), address, port, backlog=BACKLOG
    )
    try:
        yield RouterPort(server, clients)
    finally:
        server.close()
        for client in clients:
            client.abandon()
        await clients.wait_gone()
