"""The DNS proxy's sockets: UDP and TCP on an address of the TUN."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, cast

from ktnet.dns.counters import Counters
from ktnet.dns.explain import Explanation, explain
from ktnet.dns.messages import Answer, Query, build_rejection, fit_answer, parse_query
from ktnet.dns.policy import Policy
from ktnet.dns.resolver import AskCluster, Lookup, Reach, Resolver
from ktnet.dns.upstream import Upstreams
from ktnet.errors import RemoteProtocolError
from ktnet.stream.nameservers import DNS_PORT

log = logging.getLogger(__name__)

MAX_UDP_QUERIES = 256
"""Asked for at once; each may hold up to three descriptors, and 1,024 is a usual limit. What
comes on top is dropped, as a full socket buffer would: clients ask again."""

MAX_CONNECTIONS = 64
MAX_PIPELINED = 16
"""Answered at once on one connection (RFC 7766 section 6.2.1.1); more are read when one is done."""

IDLE_TIME_S = 10.0
"""A connection that sends no query, or takes no answer, for so long is closed (RFC 7766 6.2.3).
Longer than any query takes, so nothing is in flight then."""

_SHORTAGE_PAUSE_S = 0.1
"""Before the next accept when there was no descriptor for a connection."""


Address = IPv4Address | IPv6Address


class Proxy:
    """An open proxy."""

    def __init__(self, resolver: Resolver, own: tuple[Address, int], upstream_port: int) -> None:
        self._resolver = resolver
        self._own = own
        self._upstream_port = upstream_port

    @property
    def counters(self) -> Counters:
        """What the proxy has seen until now."""
        return self._resolver.counters

    def describe_recent(self, most: int) -> list[dict[str, Any]]:
        """The last queries and what became of them, as JSON, the newest first."""
        return self._resolver.recent.describe(most)

    @property
    def policy(self) -> Policy:
        """Whose names are whose; may be replaced while the proxy runs."""
        return self._resolver.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._resolver.policy = policy

    def use_upstreams(self, servers: Iterable[Address]) -> None:
        """Ask these for outside names from now on: the machine has come to another network.

        The proxy's own address among them is left out, since it would ask itself for ever.
        """
        others = [server for server in servers if (server, self._upstream_port) != self._own]
        self._resolver.use_upstreams(Upstreams(others, port=self._upstream_port))

    def limit_cluster_ttls(self, most_s: int | None) -> None:
        """Whoever asks may remember answers of the cluster for so long (s), denials not at all.

        For the sake of a cache in between, such as systemd-resolved's: Services come and go.
        None for as long as the cluster says.
        """
        self._resolver.most_cluster_ttl_s = most_s

    def reach_first(self, reach: Reach | None) -> None:
        """Tell this of the addresses in the cluster's answers, each before it is given."""
        self._resolver.reach = reach

    def flush(self) -> None:
        """Forget all answers: those who gave them may not be the ones to ask any more."""
        self._resolver.flush()

    async def explain(self, name: str, qtype: int, search: Sequence[str] = ()) -> list[Explanation]:
        """How a name is decided and answered; UsageError where it is none (see `explain`)."""
        return await explain(self._resolver, name, qtype, search)


@asynccontextmanager
async def open_proxy(
    udp: socket.socket,
    tcp: socket.socket,
    policy: Policy,
    ask_cluster: AskCluster,
    upstreams: Iterable[Address],
    *,
    upstream_port: int = DNS_PORT,
) -> AsyncIterator[Proxy]:
    """Answer queries on two bound sockets (`tcp` listens) until the context is left.

    Closes both sockets then. `upstreams` are asked for names outside the cluster, in this order;
    the proxy's own address among them is left out, since it would ask itself for ever.
    """
    with udp, tcp:
        host, port = udp.getsockname()[:2]
        own = (ip_address(host), port)
        resolver = Resolver(policy, ask_cluster, Upstreams((), port=upstream_port))
        proxy = Proxy(resolver, own, upstream_port)
        proxy.use_upstreams(upstreams)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(_serve(udp, tcp, resolver))
            try:
                yield proxy
            finally:
                serving.cancel()


async def _serve(udp: socket.socket, tcp: socket.socket, resolver: Resolver) -> None:
    udp.setblocking(False)
    tcp.setblocking(False)
    async with asyncio.TaskGroup() as group:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _UdpServer(resolver, group), sock=udp
        )
        try:
            await _serve_tcp(tcp, resolver)
        finally:
            transport.abort()


class _UdpServer(asyncio.DatagramProtocol):
    """Answers datagrams; each has a task in the group that the server was given."""

    def __init__(self, resolver: Resolver, group: asyncio.TaskGroup) -> None:
        self._resolver = resolver
        self._group = group
        self._in_flight = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        counters = self._resolver.counters
        try:
            query = parse_query(data)
        except RemoteProtocolError as error:
            counters.malformed += 1
            log.debug("datagram from %s refused: %s", addr[0], error)
            if (rejection := build_rejection(data)) is not None:
                self._transport.sendto(rejection, addr)
            return
        lookup = self._resolver.start(query)
        if (answer := self._resolver.recall(lookup)) is not None:
            self._send(answer, lookup, addr)
        elif self._in_flight >= MAX_UDP_QUERIES:
            counters.dropped += 1
        else:
            self._in_flight += 1
            self._group.create_task(self._ask(lookup, addr))

    async def _ask(self, lookup: Lookup, addr: Any) -> None:
        try:
            self._send(await self._resolver.ask(lookup, over_tcp=False), lookup, addr)
        finally:
            self._in_flight -= 1

    def _send(self, answer: Answer, lookup: Lookup, addr: Any) -> None:
        self._transport.sendto(fit_answer(answer, lookup.query.udp_size), addr)

    def error_received(self, exc: Exception) -> None:
        # An ICMP error: some client is gone before its answer came. Others are not concerned.
        log.debug("DNS over UDP: %s", exc)


async def _serve_tcp(listener: socket.socket, resolver: Resolver) -> None:
    """Accept connections until cancelled."""
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(MAX_CONNECTIONS)
    async with asyncio.TaskGroup() as group:
        while True:
            await slots.acquire()
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                slots.release()
                log.warning("a DNS connection was not accepted: %s", error)
                await asyncio.sleep(_SHORTAGE_PAUSE_S)
                continue
            task = group.create_task(_serve_connection(connection, resolver))
            task.add_done_callback(lambda _: slots.release())


async def _serve_connection(connection: socket.socket, resolver: Resolver) -> None:
    """Answer the queries of one connection, each as soon as its answer is there (RFC 7766 7)."""
    with connection:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            async with asyncio.TaskGroup() as group:
                await _read_queries(reader, writer, resolver, group)
            writer.close()
            async with asyncio.timeout(IDLE_TIME_S):
                await writer.wait_closed()
        except OSError as error:  # a TimeoutError is one too
            log.debug("a DNS connection ended: %s", error)
        finally:
            # A transport that has closed after it sent what was left doesn't stand an abort (an
            # AttributeError up to Python 3.13 at least), and that would end the whole proxy.
            if connection.fileno() != -1:
                writer.transport.abort()


async def _read_queries(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    resolver: Resolver,
    group: asyncio.TaskGroup,
) -> None:
    """Read queries, each behind its length in two octets, until the client ends or idles.

    What is no query ends it too: framing can't be trusted any more.
    """
    slots = asyncio.Semaphore(MAX_PIPELINED)
    while True:
        await slots.acquire()
        try:
            async with asyncio.timeout(IDLE_TIME_S):
                length = int.from_bytes(await reader.readexactly(2), "big")
                message = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            return
        try:
            query = parse_query(message)
        except RemoteProtocolError as error:
            resolver.counters.malformed += 1
            log.debug("message on a DNS connection refused: %s", error)
            if (rejection := build_rejection(message)) is not None:
                await _write(writer, rejection)
            return
        task = group.create_task(_answer_over_tcp(query, writer, resolver))
        task.add_done_callback(lambda _: slots.release())


async def _answer_over_tcp(query: Query, writer: asyncio.StreamWriter, resolver: Resolver) -> None:
    await _write(writer, await resolver.resolve(query, over_tcp=True))


async def _write(writer: asyncio.StreamWriter, message: bytes) -> None:
    """Write a message behind its length; a client that takes nothing loses its connection."""
    writer.write(len(message).to_bytes(2, "big") + message)
    try:
        async with asyncio.timeout(IDLE_TIME_S):
            await writer.drain()
    except (OSError, TimeoutError):
        writer.transport.abort()
