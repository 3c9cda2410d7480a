"""Asks the pod's own resolvers, as the C library would: UDP first, TCP where it did not fit.

A message goes out as the client sent it but for its id, and comes back as the server sent it:
record types, TTLs, NXDOMAIN and the rest are nobody's business here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
from collections.abc import Sequence
from typing import cast

from ktnet.errors import RemoteProtocolError
from ktnet.stream.nameservers import DNS_PORT, MOST_SERVERS, Nameservers
from ktnet.wire.dnsframe import build_frame
from ktnet.wire.dnsmessage import (
    build_servfail,
    build_with_id,
    is_answer_to,
    is_truncated,
    parse_id,
    parse_question,
)

TOTAL_TIME_S = 1.8
"""For all servers together: the client gives up after 2 s (`ktnet.dns.resolver.CLUSTER_TIME_S`),
and had better hear from us. A cluster's resolver is a millisecond away."""

HEAD_START_S = 0.6
"""See `ktnet.stream.nameservers`."""

RESEND_S = 0.5
"""After which a datagram is sent again: pods usually have one resolver, so a lost datagram can't
be made good by asking the next one."""

_LARGEST_UDP_QUERY_BYTES = 512


def parse_nameservers(resolv_conf: str) -> list[str]:
    """The addresses that resolv.conf(5) names; this host's own where it names none."""
    servers = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                servers.append(str(ipaddress.ip_address(words[1])))
    return servers[:MOST_SERVERS] or ["127.0.0.1"]


class Resolver:
    """The servers that the pod has, in order."""

    def __init__(
        self, servers: Sequence[str], *, port: int = DNS_PORT, total_time_s: float = TOTAL_TIME_S
    ) -> None:
        self._nameservers: Nameservers[str, bytes] = Nameservers(
            servers, HEAD_START_S, lambda answer: answer[3] & 0x0F
        )
        self._port = port
        self._total_time_s = total_time_s

    async def answer(self, query: bytes) -> bytes:
        """The first answer that a server gives to `query`, or SERVFAIL where none gives one.

        RemoteProtocolError where `query` is not a question.
        """
        parse_question(query)
        asked = build_with_id(query, secrets.randbelow(0x10000))
        answer = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._total_time_s):
                answer = await self._nameservers.ask(lambda server: self._ask_one(server, asked))
        return build_with_id(answer, parse_id(query)) if answer else build_servfail(query)

    async def _ask_one(self, server: str, query: bytes) -> bytes | None:
        """Its answer, None where it fails."""
        with contextlib.suppress(OSError, RemoteProtocolError):
            return await self._ask(server, query)
        return None

    async def _ask(self, server: str, query: bytes) -> bytes:
        if len(query) <= _LARGEST_UDP_QUERY_BYTES:
            answer = await self._ask_by_udp(server, query)
            if not is_truncated(answer):
                return answer
        return await self._ask_by_tcp(server, query)

    async def _ask_by_udp(self, server: str, query: bytes) -> bytes:
        # A socket of its own for each query: the kernel picks a random port for it and, the
        # socket being connected, lets nothing in from anywhere else (RFC 5452).
        loop = asyncio.get_running_loop()
        transport, exchange = await loop.create_datagram_endpoint(
            lambda: _Exchange(query, loop.create_future()), remote_addr=(server, self._port)
        )
        transport.sendto(query)
        resending = loop.call_later(RESEND_S, transport.sendto, query)
        try:
            return await exchange.answer
        finally:
            resending.cancel()
            transport.close()

    async def _ask_by_tcp(self, server: str, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(build_frame(query))
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = await reader.readexactly(length)
        except EOFError as error:
            raise RemoteProtocolError("a resolver ended its answer too soon") from error
        finally:
            writer.transport.abort()
        if not is_answer_to(query, answer):
            raise RemoteProtocolError("a resolver answered something else")
        return answer


class _Exchange(asyncio.DatagramProtocol):
    """One query and its answer; what does not match is as if it had not come."""

    def __init__(self, query: bytes, answer: asyncio.Future[bytes]) -> None:
        self._query = query
        self.answer = answer

    def datagram_received(self, data: bytes, _addr: object) -> None:
        if is_answer_to(self._query, data) and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        # ICMP: nobody listens there, or no way there.
        if not self.answer.done():
            self.answer.set_exception(cast("OSError", exc))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionAbortedError("closed"))
            self.answer.exception()  # nobody has to look at it
