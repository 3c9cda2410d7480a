"""The proxy on real sockets, with real nameservers beside it and a cluster of our own."""

import asyncio
import socket
import struct
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network

import pytest
from dnslib import EDNS0, QTYPE, RR, SOA, TXT, A, DNSRecord
from nameservers import (
    answer_known,
    answer_large,
    answer_with_rcode,
    ask_tcp,
    ask_udp,
    bind_both,
    keep_silent,
    open_nameserver,
    open_test_proxy,
    open_udp_client,
    question,
    wait_until,
)

from ktnet.dns import proxy as proxy_module
from ktnet.dns import resolver as resolver_module
from ktnet.dns.policy import build_policy
from ktnet.dns.proxy import open_proxy
from ktnet.errors import TunnelError
from ktnet.wire.service import Service

LOOPBACK = IPv4Address("127.0.0.1")


TOMCAT = Service(headless=False, addresses=(IPv4Address("10.96.0.7"),))


def find(namespace: str, name: str) -> Service | None:
    return TOMCAT if (namespace, name) == ("demo", "tomcat") else None


POLICY = build_policy("cluster.local", [IPv4Network("10.96.0.0/16")], find)


class Cluster:
    """Answers as the cluster's resolver: Service names in lower case, SOA where there is none."""

    def __init__(self) -> None:
        self.asked: list[DNSRecord] = []

    async def ask(self, message: bytes) -> bytes:
        query = DNSRecord.parse(message)
        self.asked.append(query)
        reply = query.reply(ra=0)
        name = str(query.q.qname).lower()
        if name == "big.demo.svc.cluster.local.":
            for number in range(100):
                reply.add_answer(RR(name, QTYPE.A, ttl=30, rdata=A(f"10.9.0.{number}")))
        elif name == "tomcat.demo.svc.cluster.local." and query.q.qtype == QTYPE.A:
            reply.add_answer(RR(name, QTYPE.A, ttl=30, rdata=A("10.96.0.7")))
        else:
            reply.header.rcode = 0 if name.startswith("tomcat.") else 3
            reply.add_auth(
                RR("cluster.local", QTYPE.SOA, ttl=30, rdata=SOA("ns.dns", "h", (1, 2, 3, 4, 30)))
            )
        return bytes(reply.pack())


def test_each_name_goes_to_its_own_resolver_and_to_no_other() -> None:
    async def main() -> None:
        cluster = Cluster()
        async with (
            open_nameserver(answer_known) as office,
            open_test_proxy(
                policy=POLICY, ask_cluster=cluster.ask, upstreams=[LOOPBACK], port=office.port
            ) as (proxy, address),
        ):
            inside = ["tomcat.demo.svc.cluster.local", "nobody.demo.svc.cluster.local"]
            outside = ["example.com", "foo.io", "tomcat", "tomcat.other", "alias.example.com"]
            for name in [*inside, "tomcat.demo", "1.0.96.10.in-addr.arpa", *outside]:
                answer = DNSRecord.parse(await ask_udp(address, question(name)))
                assert answer.header.id == 0x1234
                assert str(answer.q.qname) == name + "."
            assert [str(query.q.qname) for query in cluster.asked] == [
                "tomcat.demo.svc.cluster.local.",
                "nobody.demo.svc.cluster.local.",
                "tomcat.demo.svc.cluster.local.",
                "1.0.96.10.in-addr.arpa.",
            ]
            assert office.names() == [name + "." for name in outside]
            counters = proxy.counters
            assert (counters.queries, counters.cluster, counters.outside) == (9, 4, 5)
            assert (counters.cluster_failures, counters.outside_failures) == (0, 0)

    asyncio.run(main())


def test_outside_answers_pass_unchanged() -> None:
    """NXDOMAIN with SOA, NODATA, a CNAME chain, compression: octet by octet."""

    async def main() -> None:
        async with (
            open_nameserver(answer_known) as office,
            open_test_proxy(upstreams=[LOOPBACK], port=office.port) as (_, address),
        ):
            for name, qtype in [
                ("example.com", "A"),
                ("example.com", "AAAA"),
                ("example.com", "HTTPS"),
                ("alias.example.com", "A"),
                ("nobody.example.com", "A"),
                ("eXaMpLe.CoM", "A"),
            ]:
                query = question(name, qtype)
                (expected,) = answer_known(DNSRecord.parse(query), "udp")
                assert await ask_udp(address, query) == expected
                assert await ask_tcp(address, query) == [expected]

    asyncio.run(main())


def test_short_name_is_answered_under_the_name_that_was_asked() -> None:
    async def main() -> None:
        cluster = Cluster()
        async with open_test_proxy(policy=POLICY, ask_cluster=cluster.ask) as (_, address):
            for name in ("ToMcAt.DeMo", "tomcat.demo.SVC"):
                query = question(name)
                wire = await ask_udp(address, query)
                assert wire[12 : len(query)] == query[12:]  # octet by octet, case included
                answer = DNSRecord.parse(wire)
                (record,) = answer.rr
                assert str(record.rname) == name + "."
                assert (str(record.rdata), record.ttl) == ("10.96.0.7", 30)
            nodata = DNSRecord.parse(await ask_udp(address, question("tomcat.demo", "AAAA")))
            assert (nodata.header.rcode, nodata.rr) == (0, [])
            assert [record.rtype for record in nodata.auth] == [QTYPE.SOA]

    asyncio.run(main())


def test_parallel_a_and_aaaa_from_one_port_get_each_its_answer() -> None:
    """As getaddrinfo asks: two queries in a row from one socket, told apart by their ids."""

    async def main() -> None:
        async with (
            open_nameserver(answer_known) as office,
            open_test_proxy(upstreams=[LOOPBACK], port=office.port) as (_, address),
            open_udp_client(address) as client,
        ):
            client.transport.sendto(question("example.com", "A", 1))
            client.transport.sendto(question("example.com", "AAAA", 2))
            answers = [DNSRecord.parse(await client.received.get()) for _ in range(2)]
            assert {(a.header.id, a.q.qtype, str(a.rr[0].rdata)) for a in answers} == {
                (1, QTYPE.A, "192.0.2.1"),
                (2, QTYPE.AAAA, "2001:db8::1"),
            }

    asyncio.run(main())


def test_large_cluster_answer_is_truncated_over_udp_and_full_over_tcp() -> None:
    async def main() -> None:
        name = "big.demo.svc.cluster.local"
        async with open_test_proxy(policy=POLICY, ask_cluster=Cluster().ask) as (_, address):
            plain = await ask_udp(address, question(name))
            assert len(plain) <= 512
            parsed = DNSRecord.parse(plain)
            assert parsed.header.tc == 1
            assert len(parsed.rr) > 20
            with_edns = DNSRecord.parse(question(name))
            with_edns.add_ar(EDNS0(udp_len=1232))
            larger = await ask_udp(address, bytes(with_edns.pack()))
            assert len(plain) < len(larger) <= 1232
            with_edns.ar[0] = EDNS0(udp_len=4096)
            whole = DNSRecord.parse(await ask_udp(address, bytes(with_edns.pack())))
            assert (whole.header.tc, len(whole.rr)) == (0, 100)
            (full,) = await ask_tcp(address, question(name))
            assert (DNSRecord.parse(full).header.tc, len(DNSRecord.parse(full).rr)) == (0, 100)

    asyncio.run(main())


def test_truncated_outside_answer_is_fetched_over_tcp_for_who_asks_over_tcp() -> None:
    async def main() -> None:
        async with (
            open_nameserver(answer_large) as office,
            open_test_proxy(upstreams=[LOOPBACK], port=office.port) as (_, address),
        ):
            over_udp = DNSRecord.parse(await ask_udp(address, question("example.com")))
            assert (over_udp.header.tc, len(over_udp.rr)) == (1, 0)
            assert [transport for transport, _ in office.asked] == ["udp"]
            (over_tcp,) = await ask_tcp(address, question("example.com"))
            assert len(DNSRecord.parse(over_tcp).rr) == 100
            assert [transport for transport, _ in office.asked] == ["udp", "udp", "tcp"]

    asyncio.run(main())


def test_cluster_that_fails_or_is_silent_is_servfail_in_time(monkeypatch) -> None:
    monkeypatch.setattr(resolver_module, "CLUSTER_TIME_S", 0.2)

    async def main() -> None:
        async def broken(message: bytes) -> bytes:
            raise TunnelError("the tunnel is down")

        async def silent(message: bytes) -> bytes:
            await asyncio.Event().wait()
            return b""

        async def garbled(message: bytes) -> bytes:
            return message[:7]

        async def confused(message: bytes) -> bytes:
            return answer_known(DNSRecord.parse(question("example.com")), "udp")[0]

        query = DNSRecord.parse(question("tomcat.demo.svc.cluster.local"))
        query.add_ar(EDNS0(udp_len=1232))
        for ask in (broken, silent, garbled, confused):
            async with open_test_proxy(policy=POLICY, ask_cluster=ask) as (proxy, address):
                start_s = time.monotonic()
                answer = DNSRecord.parse(await ask_udp(address, bytes(query.pack())))
                assert time.monotonic() - start_s < 1.0
                assert answer.header.rcode == 2
                assert answer.q == query.q
                assert b"no answer from the cluster" in answer.ar[0].rdata[0].data
                assert proxy.counters.cluster_failures == 1

    asyncio.run(main())


def test_outside_names_answer_while_the_cluster_is_silent() -> None:
    async def main() -> None:
        async def silent(message: bytes) -> bytes:
            await asyncio.Event().wait()
            return b""

        async with (
            open_nameserver(answer_known) as office,
            open_test_proxy(
                policy=POLICY, ask_cluster=silent, upstreams=[LOOPBACK], port=office.port
            ) as (_, address),
            open_udp_client(address) as client,
        ):
            for id_ in range(100):
                client.transport.sendto(question("x.demo.svc.cluster.local", "A", id_))
            client.transport.sendto(question("example.com", "A", 200))
            first = DNSRecord.parse(await client.received.get())
            assert (first.header.id, str(first.rr[0].rdata)) == (200, "192.0.2.1")

    asyncio.run(main())


def test_without_nameservers_outside_names_are_servfail() -> None:
    async def main() -> None:
        async with open_test_proxy() as (proxy, address):
            answer = DNSRecord.parse(await ask_udp(address, question("example.com")))
            assert answer.header.rcode == 2
            assert answer.ar == []  # no OPT to who sent none
            assert proxy.counters.outside_failures == 1

    asyncio.run(main())


def test_never_asks_itself() -> None:
    """A resolver file that still names our address must not make queries go in circles."""

    async def main() -> None:
        udp, tcp = bind_both()
        address = udp.getsockname()
        async with open_proxy(
            udp, tcp, POLICY, Cluster().ask, [LOOPBACK], upstream_port=address[1]
        ) as proxy:
            answer = DNSRecord.parse(await ask_udp(address, question("example.com")))
            assert answer.header.rcode == 2
            assert proxy.counters.queries == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        # Recorded: what CoreDNS answers to these.
        ("123401000001000000000000ff", "123481010000000000000000"),
        ("123410000001000000000000037777770000010001", "123490040000000000000000"),
        (
            "123401000002000000000000037777770000010001037777770000010001",
            "123481010000000000000000",
        ),
    ],
)
def test_malformed_queries_get_a_bare_header(message: str, reply: str) -> None:
    async def main() -> None:
        async with open_test_proxy() as (proxy, address):
            assert (await ask_udp(address, bytes.fromhex(message))).hex() == reply
            assert [a.hex() for a in await ask_tcp(address, bytes.fromhex(message))] == [reply]
            assert (proxy.counters.malformed, proxy.counters.queries) == (2, 0)

    asyncio.run(main())


def test_replies_and_scraps_get_no_answer() -> None:
    async def main() -> None:
        async with (
            open_nameserver(answer_known) as office,
            open_test_proxy(upstreams=[LOOPBACK], port=office.port) as (proxy, address),
            open_udp_client(address) as client,
        ):
            reply = answer_known(DNSRecord.parse(question("example.com", "A", 1)), "udp")[0]
            for scrap in (b"\0", b"\x12\x34" + bytes(9), reply, b"\xff" * 12):
                client.transport.sendto(scrap)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
                plain.sendto(b"", address)  # asyncio sends no empty datagram
            client.transport.sendto(question("example.com", "A", 7))
            assert (await client.received.get())[:2] == b"\0\x07"
            assert client.received.empty()
            assert proxy.counters.malformed == 5

    asyncio.run(main())


def test_zone_transfer_is_refused() -> None:
    async def main() -> None:
        async with open_test_proxy(policy=POLICY) as (proxy, address):
            query = question("cluster.local", "AXFR")
            for answer in (await ask_udp(address, query), *await ask_tcp(address, query)):
                assert DNSRecord.parse(answer).header.rcode == 5
            assert proxy.counters.refused == 2

    asyncio.run(main())


def test_too_many_datagrams_are_dropped_not_queued(monkeypatch) -> None:
    monkeypatch.setattr(proxy_module, "MAX_UDP_QUERIES", 4)

    async def main() -> None:
        release = asyncio.Event()
        cluster = Cluster()

        async def slow(message: bytes) -> bytes:
            await release.wait()
            return await cluster.ask(message)

        async with (
            open_test_proxy(policy=POLICY, ask_cluster=slow) as (proxy, address),
            open_udp_client(address) as client,
        ):
            for id_ in range(10):
                client.transport.sendto(question("tomcat.demo", "A", id_))
            await wait_until(lambda: proxy.counters.queries == 10)
            release.set()
            ids = {(await client.received.get())[1] for _ in range(4)}
            assert ids == {0, 1, 2, 3}
            assert proxy.counters.dropped == 6
            client.transport.sendto(question("tomcat.demo", "A", 11))
            assert (await client.received.get())[1] == 11

    asyncio.run(main())


def test_queries_on_one_connection_are_answered_as_they_are_ready() -> None:
    """The slow one, though first, holds up nobody (RFC 7766 section 7)."""

    async def main() -> None:
        cluster = Cluster()
        others_done = asyncio.Event()

        async def first_is_slow(message: bytes) -> bytes:
            if DNSRecord.parse(message).q.qtype == QTYPE.TXT:
                await others_done.wait()
            answer = await cluster.ask(message)
            if len(cluster.asked) == 40:
                others_done.set()
            return answer

        async with open_test_proxy(policy=POLICY, ask_cluster=first_is_slow) as (_, address):
            queries = [question("tomcat.demo", "TXT", 999)]
            queries += [question(f"n{id_}.demo.svc.cluster.local", "A", id_) for id_ in range(40)]
            answers = [DNSRecord.parse(a) for a in await ask_tcp(address, *queries)]
            ids = [answer.header.id for answer in answers]
            assert sorted(ids) == [*range(40), 999]
            assert ids[-1] == 999

    asyncio.run(main())


def test_query_that_comes_byte_by_byte_is_one_query() -> None:
    async def main() -> None:
        async with open_test_proxy(policy=POLICY, ask_cluster=Cluster().ask) as (_, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            query = question("tomcat.demo")
            for octet in struct.pack("!H", len(query)) + query:
                writer.write(bytes((octet,)))
                await writer.drain()
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            assert len(DNSRecord.parse(await reader.readexactly(length)).rr) == 1
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


def test_garbage_on_a_connection_ends_it_and_no_other() -> None:
    async def main() -> None:
        async with open_test_proxy(policy=POLICY, ask_cluster=Cluster().ask) as (_, address):
            good = await asyncio.open_connection(*address)
            for garbage in (b"GET / HTTP/1.1\r\n\r\n" * 2000, b"\0\0", b"\0\x01x", b"\xff"):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(garbage)
                writer.write_eof()
                # A reset it is where the connection was closed before all was read.
                async with asyncio.timeout(5):
                    with suppress(ConnectionResetError):
                        assert len(await reader.read()) <= 14
                writer.transport.abort()
            query = question("tomcat.demo")
            good[1].write(struct.pack("!H", len(query)) + query)
            (length,) = struct.unpack("!H", await good[0].readexactly(2))
            assert len(DNSRecord.parse(await good[0].readexactly(length)).rr) == 1
            good[1].close()
            await good[1].wait_closed()

    asyncio.run(main())


def test_idle_connection_is_closed_also_within_a_message(monkeypatch) -> None:
    monkeypatch.setattr(proxy_module, "IDLE_TIME_S", 0.1)

    async def main() -> None:
        async with open_test_proxy() as (_, address):
            for start in (b"", b"\0", b"\0\x20abc"):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(start)
                async with asyncio.timeout(5):
                    assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()

    asyncio.run(main())


def test_client_that_reads_nothing_loses_its_connection(monkeypatch) -> None:
    monkeypatch.setattr(proxy_module, "IDLE_TIME_S", 0.2)

    async def main() -> None:
        query = question("x.demo.svc.cluster.local")
        reply = DNSRecord.parse(query).reply()
        for _ in range(200):
            reply.add_answer(RR("x", QTYPE.TXT, rdata=TXT(b"x" * 255)))
        wire = bytes(reply.pack())

        async def answer_much(message: bytes) -> bytes:
            return wire

        frame = struct.pack("!H", len(query)) + query
        async with open_test_proxy(policy=POLICY, ask_cluster=answer_much) as (_, address):
            _, writer = await asyncio.open_connection(*address, limit=1)
            async with asyncio.timeout(10):
                with pytest.raises(OSError):  # noqa: PT012  written until the connection is gone
                    while True:
                        writer.write(frame * 100)
                        await writer.drain()
            writer.transport.abort()
            assert len(await ask_udp(address, query)) <= 512

    asyncio.run(main())


def test_client_that_reads_late_gets_all_and_the_proxy_lives_on() -> None:
    """Most of its answer is still to be sent when its connection is closed on this side."""

    async def main() -> None:
        query = question("x.demo.svc.cluster.local")
        reply = DNSRecord.parse(query).reply()
        for _ in range(200):
            reply.add_answer(RR("x", QTYPE.TXT, rdata=TXT(b"x" * 255)))
        wire = bytes(reply.pack())

        async def answer_much(message: bytes) -> bytes:
            return wire

        udp, tcp = bind_both()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        address = udp.getsockname()
        async with open_proxy(udp, tcp, POLICY, answer_much, []):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, address)
            await loop.sock_sendall(client, struct.pack("!H", len(query)) + query)
            client.shutdown(socket.SHUT_WR)
            received = await loop.sock_recv(client, 1)
            for _ in range(100):  # the proxy sees the end, and closes
                await asyncio.sleep(0)
            while part := await loop.sock_recv(client, 1 << 16):
                received += part
            client.close()
            assert received[4:] == wire[2:]
            assert len(await ask_udp(address, query)) <= 512

    asyncio.run(main())


def test_more_connections_than_are_served_wait_for_their_turn(monkeypatch) -> None:
    monkeypatch.setattr(proxy_module, "MAX_CONNECTIONS", 2)

    async def main() -> None:
        async with open_test_proxy(policy=POLICY, ask_cluster=Cluster().ask) as (_, address):
            answers = await asyncio.gather(
                *(ask_tcp(address, question("tomcat.demo", "A", id_)) for id_ in range(20))
            )
            assert [answer[0][1] for answer in answers] == list(range(20))

    asyncio.run(main())


def test_sockets_are_closed_and_queries_in_flight_given_up() -> None:
    async def main() -> None:
        async with open_nameserver(keep_silent) as office:
            udp, tcp = bind_both()
            address = udp.getsockname()
            async with open_proxy(
                udp, tcp, POLICY, Cluster().ask, [LOOPBACK], upstream_port=office.port
            ):
                _, writer = await asyncio.open_connection(*address)
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                client.sendto(question("example.com"), address)
                client.close()
                await wait_until(lambda: len(office.asked) == 1)
            assert udp.fileno() == tcp.fileno() == -1
            assert len(asyncio.all_tasks()) == 1
            writer.transport.abort()

    asyncio.run(main())


def test_sockets_are_closed_also_when_the_session_fails_at_once() -> None:
    async def main() -> None:
        udp, tcp = bind_both()
        with pytest.raises(ExceptionGroup):
            async with open_proxy(udp, tcp, POLICY, Cluster().ask, []):
                raise ZeroDivisionError
        assert udp.fileno() == tcp.fileno() == -1

    asyncio.run(main())


def test_rcodes_pass_as_the_server_said() -> None:
    async def main() -> None:
        for rcode in range(1, 11):
            async with (
                open_nameserver(answer_with_rcode(rcode)) as office,
                open_test_proxy(upstreams=[LOOPBACK], port=office.port) as (proxy, address),
            ):
                answer = DNSRecord.parse(await ask_udp(address, question("example.com")))
                assert answer.header.rcode == rcode
                assert proxy.counters.outside_failures == 0

    asyncio.run(main())
