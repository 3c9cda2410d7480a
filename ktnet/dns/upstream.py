"""The nameservers that this machine had before: who is asked for names outside the cluster.

They are asked over this machine's own routes, so outside names work without the tunnel too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ktnet.dns.messages import Answer, Query, parse_answer
from ktnet.errors import DnsError, RemoteProtocolError
from ktnet.stream.nameservers import DNS_PORT, MOST_SERVERS, Nameservers
from ktnet.wire.dnsmessage import build_with_id

log = logging.getLogger(__name__)

TOTAL_TIME_S = 4.5
"""For all servers together: just before the 5 s after which a C library gives up on us."""

_HEAD_START_S = 1.0
"""See `ktnet.stream.nameservers`."""

_REPEAT_S = 1.5
"""After so long without an answer the datagram, or its answer, is taken for lost."""

_TCP_TIME_S = 2.0
"""For an answer over TCP, from the SYN on; then the truncated one has to do."""

_SocketAddress = tuple[socket.AddressFamily, Any]
"""Family, and the address as the socket module takes it for that family."""


class Upstreams:
    """Asks nameservers in the order given, the next one where one fails or keeps silent."""

    def __init__(
        self, servers: Sequence[IPv4Address | IPv6Address], *, port: int = DNS_PORT
    ) -> None:
        addresses = [_socket_address(server, port) for server in servers[:MOST_SERVERS]]
        self._nameservers: Nameservers[_SocketAddress, Answer] = Nameservers(
            addresses, _HEAD_START_S, lambda answer: answer.rcode
        )
        self._is_empty = not addresses

    async def ask(self, query: Query, *, over_tcp: bool) -> Answer:
        """The answer to `query`, whatever its RCODE; it carries the query's own id.

        With `over_tcp` a truncated answer is fetched again over TCP; without, the asker is told of
        the truncation and comes back over TCP by itself. Raises DnsError where nobody answers.
        """
        if self._is_empty:
            raise DnsError("this machine has no nameserver for names outside the cluster")
        try:
            async with asyncio.timeout(TOTAL_TIME_S):
                answer = await self._nameservers.ask(
                    lambda server: _ask_one(server, query, over_tcp=over_tcp)
                )
        except TimeoutError:
            answer = None
        if answer is None:
            raise DnsError("no nameserver of this machine answered")
        return answer


def _socket_address(server: IPv4Address | IPv6Address, port: int) -> _SocketAddress:
    """A server's address with its port; a link-local one keeps its interface (`fe80::1%eth0`)."""
    try:
        found = socket.getaddrinfo(
            str(server), port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
    except OSError as error:
        raise DnsError(f"the nameserver {server} can't be asked: {error}") from error
    family, *_, address = found[0]
    return family, address


async def _ask_one(server: _SocketAddress, query: Query, *, over_tcp: bool) -> Answer | None:
    """Its answer, None where it can't be asked."""
    # A fresh random id and, from the kernel, a random port: what a forger has to guess (RFC 5452).
    id_ = secrets.randbelow(0x10000)
    sent = replace(query, wire=build_with_id(query.wire, id_), id=id_)
    answer = None
    try:
        answer = await _ask_over_udp(server, sent)
        if answer.truncated and over_tcp:
            async with asyncio.timeout(_TCP_TIME_S):
                answer = await _ask_over_tcp(server, sent)
    except (OSError, RemoteProtocolError) as error:
        # A truncated answer is kept where TCP fails: it is better than none.
        log.debug("nameserver %s: %s", server[1][0], error)
    if answer is None:
        return None
    wire = build_with_id(answer.wire, query.id)
    return replace(answer, wire=wire, server=str(server[1][0]))


async def _ask_over_udp(server: _SocketAddress, sent: Query) -> Answer:
    """Ask until there is an answer. Raises OSError, at once where nothing listens there."""
    family, address = server
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(address)  # from here on, only datagrams from there reach us
        while True:
            await loop.sock_sendall(sock, sent.wire)
            try:
                async with asyncio.timeout(_REPEAT_S):
                    return await _receive_answer(sock, sent)
            except TimeoutError:
                continue


async def _receive_answer(sock: socket.socket, sent: Query) -> Answer:
    """The answer to `sent` among what comes; what doesn't match may be forged, and isn't heard."""
    loop = asyncio.get_running_loop()
    while True:
        datagram = await loop.sock_recv(sock, 65535)
        try:
            return parse_answer(datagram, sent)
        except RemoteProtocolError as error:
            log.debug("datagram ignored: %s", error)


async def _ask_over_tcp(server: _SocketAddress, sent: Query) -> Answer:
    """Ask over a TCP connection of its own. Raises OSError or RemoteProtocolError."""
    family, address = server
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, len(sent.wire).to_bytes(2, "big") + sent.wire)
        length = int.from_bytes(await _receive_exactly(sock, 2), "big")
        return parse_answer(await _receive_exactly(sock, length), sent)


async def _receive_exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < size:
        part = await loop.sock_recv(sock, size - len(received))
        if not part:
            raise RemoteProtocolError("the nameserver ended the connection within an answer")
        received += part
    return received
