"""The nameservers that this machine had before: who is asked for names outside the cluster.

They are asked over this machine's own routes, so outside names work without the tunnel too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ktnet.dns.messages import (
    NOTIMP,
    REFUSED,
    SERVFAIL,
    Answer,
    Query,
    parse_answer,
)
from ktnet.errors import DnsError, RemoteProtocolError
from ktnet.wire.dnsmessage import build_with_id

log = logging.getLogger(__name__)

DNS_PORT = 53

MAX_SERVERS = 3
"""As many as a C library reads from resolv.conf (MAXNS in resolv.h)."""

TOTAL_TIME_S = 4.5
"""For all servers together: just before the 5 s after which a C library gives up on us."""

_HEAD_START_S = 1.0
"""How long a server is asked alone before the next one is asked as well. It goes on being waited
for: a name that takes long to look up takes long at the next server too."""

_REPEAT_S = 1.5
"""After so long without an answer the datagram, or its answer, is taken for lost."""

_TCP_TIME_S = 2.0
"""For an answer over TCP, from the SYN on; then the truncated one has to do."""

_SILENCE_REMEMBERED_S = 30.0
"""How long a server that let others overtake it is asked last, so that a dead one does not cost
its head start at every query."""

_TRY_ELSEWHERE = {SERVFAIL, NOTIMP, REFUSED}
"""With these a server says something about itself and not about the name, so the next is asked
(as the C library does)."""


_SocketAddress = tuple[socket.AddressFamily, Any]
"""Family, and the address as the socket module takes it for that family."""


class Upstreams:
    """Asks nameservers in the order given, the next one where one fails or keeps silent."""

    def __init__(
        self, servers: Sequence[IPv4Address | IPv6Address], *, port: int = DNS_PORT
    ) -> None:
        self._servers = tuple(_socket_address(server, port) for server in servers[:MAX_SERVERS])
        self._silent_until_s: dict[_SocketAddress, float] = {}

    async def ask(self, query: Query, *, over_tcp: bool) -> Answer:
        """The answer to `query`, whatever its RCODE; it carries the query's own id.

        With `over_tcp` a truncated answer is fetched again over TCP; without, the asker is told of
        the truncation and comes back over TCP by itself. Raises DnsError where nobody answers.
        """
        if not self._servers:
            raise DnsError("this machine has no nameserver for names outside the cluster")
        try:
            async with asyncio.timeout(TOTAL_TIME_S):
                answer = await self._ask_in_turn(query, over_tcp=over_tcp)
        except TimeoutError:
            answer = None
        if answer is None:
            raise DnsError("no nameserver of this machine answered")
        return answer

    async def _ask_in_turn(self, query: Query, *, over_tcp: bool) -> Answer | None:
        """The first useful answer, else the first of the others, None where there was none."""
        waiting = self._in_order()
        outcomes: asyncio.Queue[tuple[_SocketAddress, Answer | None]] = asyncio.Queue()
        asked: dict[_SocketAddress, asyncio.Task[None]] = {}
        fallback = None
        async with asyncio.TaskGroup() as group:
            while waiting or asked:
                if waiting:
                    server = waiting.pop(0)
                    asked[server] = group.create_task(
                        _ask_one(server, query, outcomes, over_tcp=over_tcp)
                    )
                try:
                    async with asyncio.timeout(_HEAD_START_S if waiting else None):
                        server, answer = await outcomes.get()
                except TimeoutError:
                    continue
                del asked[server]
                if answer is not None and answer.rcode not in _TRY_ELSEWHERE:
                    self._remember(answered=server, silent=asked)
                    for task in asked.values():
                        task.cancel()
                    return answer
                fallback = fallback or answer
        return fallback

    def _in_order(self) -> list[_SocketAddress]:
        now_s = time.monotonic()
        return sorted(self._servers, key=lambda s: self._silent_until_s.get(s, 0.0) > now_s)

    def _remember(
        self, *, answered: _SocketAddress, silent: dict[_SocketAddress, asyncio.Task[None]]
    ) -> None:
        self._silent_until_s.pop(answered, None)
        for server in silent:
            self._silent_until_s[server] = time.monotonic() + _SILENCE_REMEMBERED_S


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


async def _ask_one(
    server: _SocketAddress,
    query: Query,
    outcomes: asyncio.Queue[tuple[_SocketAddress, Answer | None]],
    *,
    over_tcp: bool,
) -> None:
    """Ask one server and put (server, its answer) into `outcomes`, None where it can't be asked."""
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
    if answer is not None:
        wire = build_with_id(answer.wire, query.id)
        answer = replace(answer, wire=wire, server=str(server[1][0]))
    outcomes.put_nowait((server, answer))


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
