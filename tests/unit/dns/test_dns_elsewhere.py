"""A proxy whose machine comes to another network, or has a cache of its own before it."""

import asyncio
from ipaddress import IPv4Address

from dnslib import QTYPE, RR, SOA, A, DNSRecord
from nameservers import (
    answer_known,
    ask_udp,
    keep_silent,
    open_nameserver,
    open_test_proxy,
    question,
    wait_until,
)

LOOPBACK = IPv4Address("127.0.0.1")
INSIDE, ABSENT = "tomcat.demo.svc.cluster.local", "absent.demo.svc.cluster.local"


async def ask_cluster(message: bytes) -> bytes:
    reply = DNSRecord.parse(message).reply(ra=0)
    if str(reply.q.qname).startswith("tomcat."):
        reply.add_answer(RR(INSIDE, QTYPE.A, ttl=30, rdata=A("10.96.0.7")))
    else:
        reply.header.rcode = 3
        times = (1, 2, 3, 4, 30)
        reply.add_auth(RR("cluster.local", QTYPE.SOA, ttl=30, rdata=SOA("ns.dns", "h", times)))
    return bytes(reply.pack())


def test_other_servers_are_asked_and_what_the_former_said_is_forgotten() -> None:
    async def main() -> None:
        async with (
            open_nameserver(answer_known) as server,
            open_test_proxy(upstreams=[], port=server.port) as (proxy, address),
        ):
            answer = DNSRecord.parse(await ask_udp(address, question("example.com")))
            assert answer.header.rcode == 2  # there is nobody to ask
            proxy.use_upstreams([LOOPBACK])
            for _ in range(2):
                answer = DNSRecord.parse(await ask_udp(address, question("example.com")))
                assert answer.header.rcode == 0
            assert server.names() == ["example.com."]
            proxy.use_upstreams([LOOPBACK])
            await ask_udp(address, question("example.com"))
            assert server.names() == ["example.com."] * 2

    asyncio.run(main())


def test_who_waits_for_a_silent_server_gets_its_answer_or_servfail() -> None:
    """The cable was pulled while a query was on its way."""

    async def main() -> None:
        async with (
            open_nameserver(keep_silent) as server,
            open_test_proxy(upstreams=[LOOPBACK], port=server.port) as (proxy, address),
        ):
            waiting = asyncio.create_task(ask_udp(address, question("example.com")))
            await wait_until(lambda: bool(server.names()))
            proxy.use_upstreams([])
            answer = DNSRecord.parse(await ask_udp(address, question("foo.io")))
            assert answer.header.rcode == 2
            assert DNSRecord.parse(await waiting).header.rcode == 2

    asyncio.run(main())


def test_a_cache_in_between_is_told_to_forget_the_clusters_soon() -> None:
    async def main() -> None:
        async with (
            open_nameserver(answer_known) as server,
            open_test_proxy(ask_cluster=ask_cluster, upstreams=[LOOPBACK], port=server.port) as (
                proxy,
                address,
            ),
        ):

            async def ttls(name: str) -> list[int]:
                answer = DNSRecord.parse(await ask_udp(address, question(name)))
                return [each.ttl for each in (*answer.rr, *answer.auth)]

            assert await ttls(INSIDE) == [30]
            proxy.limit_cluster_ttls(1)
            for _ in range(2):  # asked for, and from memory
                assert await ttls(INSIDE) == [1]
                assert await ttls(ABSENT) == [0]
                assert await ttls("example.com") == [60]
            assert proxy.counters.cluster_cached == 3
            proxy.limit_cluster_ttls(None)
            assert await ttls(ABSENT) == [30]

    asyncio.run(main())
