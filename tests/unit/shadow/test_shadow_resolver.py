from __future__ import annotations

import asyncio
import contextlib
import functools
import time

import pytest
from dnslib import QTYPE, RR, A, DNSRecord

from ktnet.shadow.resolver import HEAD_START_S, Resolver, parse_nameservers


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 10.96.0.10\nsearch a.svc.cluster.local\noptions ndots:5\n", ["10.96.0.10"]),
        ("# nameserver 1.1.1.1\n;nameserver 1.1.1.1\nnameserver\t::1 \n", ["::1"]),
        ("nameserver fe80::1%eth0\n", ["fe80::1%eth0"]),
        ("".join(f"nameserver 10.0.0.{n}\n" for n in range(5)), [f"10.0.0.{n}" for n in range(3)]),
        ("nameserver\nnameserver nonsense\nnameservers 1.2.3.4\n", ["127.0.0.1"]),
        ("", ["127.0.0.1"]),
    ],
)
def test_nameservers_of_resolv_conf(text, servers):
    assert parse_nameservers(text) == servers


class Nameserver(asyncio.DatagramProtocol):
    """Answers with its own address, with an error, or not at all."""

    def __init__(self, rcode: int | None, address: str) -> None:
        self.asked = 0
        self._rcode = rcode
        self._address = address

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        self.asked += 1
        if self._rcode is None:
            return
        reply = DNSRecord.parse(data).reply()
        reply.header.rcode = self._rcode
        if self._rcode == 0:
            reply.add_answer(RR(reply.q.qname, QTYPE.A, rdata=A(self._address)))
        self._transport.sendto(bytes(reply.pack()), addr)


@contextlib.asynccontextmanager
async def open_nameservers(*rcodes):
    """One nameserver for each code, None for a silent one; 127.0.0.1, .2 and so on, on one port."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as closing:
        servers, port = [], 0
        for number, rcode in enumerate(rcodes, start=1):
            address = f"127.0.0.{number}"
            transport, server = await loop.create_datagram_endpoint(
                functools.partial(Nameserver, rcode, address), local_addr=(address, port)
            )
            closing.callback(transport.close)
            port = transport.get_extra_info("sockname")[1]
            servers.append(server)
        addresses = [f"127.0.0.{number}" for number in range(1, len(rcodes) + 1)]
        yield servers, Resolver(addresses, port=port)


QUESTION = bytes(DNSRecord.question("tomcat.demo.svc.cluster.local").pack())


async def ask(resolver):
    """Response code, address and seconds."""
    started_s = time.monotonic()
    answer = DNSRecord.parse(await resolver.answer(QUESTION))
    address = str(answer.rr[0].rdata) if answer.rr else None
    return answer.header.rcode, address, time.monotonic() - started_s


def test_a_silent_server_is_overtaken_and_then_asked_last():
    async def scenario():
        async with open_nameservers(None, 0) as (servers, resolver):
            rcode, address, took_s = await ask(resolver)
            assert (rcode, address) == (0, "127.0.0.2")
            assert HEAD_START_S <= took_s < 1.5
            asked = servers[0].asked
            rcode, address, took_s = await ask(resolver)
            assert (rcode, address) == (0, "127.0.0.2")
            assert took_s < HEAD_START_S
            assert servers[0].asked == asked

    asyncio.run(scenario())


def test_servers_that_all_keep_silent_are_servfail_before_the_client_gives_up():
    async def scenario():
        async with open_nameservers(None, None) as (servers, resolver):
            rcode, _, took_s = await ask(resolver)
            assert rcode == 2
            assert took_s < 2.0
            assert all(server.asked >= 2 for server in servers)  # a lost datagram is sent again

    asyncio.run(scenario())


@pytest.mark.parametrize("rcode", [2, 4, 5])
def test_a_server_that_fails_is_no_reason_not_to_ask_the_next(rcode):
    async def scenario():
        async with open_nameservers(rcode, 0) as (_, resolver):
            assert (await ask(resolver))[:2] == (0, "127.0.0.2")
        async with open_nameservers(rcode, 2) as (_, resolver):
            assert (await ask(resolver))[0] == rcode

    asyncio.run(scenario())


def test_a_name_that_is_denied_is_denied():
    async def scenario():
        async with open_nameservers(3, 0) as (servers, resolver):
            assert (await ask(resolver))[0] == 3
            assert servers[1].asked == 0

    asyncio.run(scenario())
