"""DNS through the tunnel: link, subsystem, shadow and a real server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import time

import asyncssh
import pytest
from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from name_server import NameServer, addresses, answer, question
from tunnel_ends import open_shadow, run, until

from ktnet.errors import DnsError, TunnelError
from ktnet.shadow import names
from ktnet.wire.dnsframe import build_frame


@contextlib.asynccontextmanager
async def open_names(by_udp, by_tcp=None, *, timeout_s=5.0, servers=("127.0.0.1",)):
    """(link, name server, ends): a tunnel whose shadow asks a server that does as told."""
    async with (
        NameServer(by_udp, by_tcp).serving() as server,
        open_shadow(servers=servers, port=server.port, total_time_s=timeout_s) as ends,
        ends.attach() as link,
    ):
        yield link, server, ends


def plainly(_server, query):
    return [answer(query)]


def never(_server, _query):
    return []


def test_an_answer_comes_back_under_the_askers_id():
    async def scenario():
        async with open_names(plainly) as (link, server, _):
            got = await link.ask(question(message_id=0xBEEF))
            assert DNSRecord.parse(got).header.id == 0xBEEF
            assert addresses(got) == ["10.96.0.7"]
            assert len(set(server.queries)) == 1

    run(scenario())


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "SERVFAIL", "REFUSED", "NOTIMP"])
def test_what_the_server_says_is_passed_on(rcode):
    async def scenario():
        async with open_names(lambda _s, q: [answer(q, rcode=rcode)]) as (link, server, _):
            got = DNSRecord.parse(await link.ask(question()))
            assert got.header.rcode == getattr(RCODE, rcode)
            assert len(set(server.queries)) == 1

    run(scenario())


def test_the_case_of_the_question_is_kept_and_does_not_matter():
    async def scenario():
        async with open_names(lambda _s, q: [answer(q[:12] + q[12:].lower())]) as (link, server, _):
            got = await link.ask(question("ToMcAt.DeMo"))
            assert server.queries[0][12:] == question("ToMcAt.DeMo")[12:]
            assert addresses(got) == ["10.96.0.7"]

    run(scenario())


def test_a_truncated_answer_is_asked_for_again_by_tcp():
    def truncated(_server, query):
        reply = DNSRecord.parse(query).reply()
        reply.header.tc = 1
        return [reply.pack()]

    def many(_server, query):
        reply = DNSRecord.parse(query).reply()
        name = reply.q.qname
        for n in range(3000):
            reply.add_answer(RR(name, QTYPE.A, rdata=A(f"10.0.{n // 250}.{n % 250}"), ttl=30))
        return [reply.pack()]

    async def scenario():
        async with open_names(truncated, many) as (link, server, _):
            got = await link.ask(question())
            assert len(got) > 40_000
            assert len(addresses(got)) == 3000
            assert len(server.tcp_queries) == 1

    run(scenario())


def test_500_askers_with_one_id_get_each_their_own():
    held = []
    seen = set()

    def in_reverse(server, query):
        if query in seen:  # sent again, because on a busy machine its batch took long
            return []
        seen.add(query)
        held.append((query, server.ports[-1]))
        if len(held) % 100:
            return []
        batch, held[:] = list(held), []
        for query_held, port in reversed(batch):
            name = str(DNSRecord.parse(query_held).q.qname)
            number = int(name.split(".", 1)[0][1:])
            server._udp.sendto(
                answer(query_held, f"10.1.{number // 250}.{number % 250}"), ("127.0.0.1", port)
            )
        return []

    async def scenario():
        async with open_names(in_reverse, timeout_s=30) as (link, server, _):
            async with asyncio.TaskGroup() as group:
                asking = [
                    group.create_task(link.ask(question(f"n{n}.x", 7), timeout_s=30))
                    for n in range(500)
                ]
            for n, task in enumerate(asking):
                assert addresses(task.result()) == [f"10.1.{n // 250}.{n % 250}"]
            assert len(set(server.ports)) > 50  # a port for each query
            assert len({query[:2] for query in server.queries}) > 250  # and a random id

    run(scenario())


def test_forged_answers_are_as_if_they_had_not_come():
    def forge(_server, query):
        other_id = bytes([query[0] ^ 1]) + query[1:]
        return [
            b"",
            b"\0",
            query,
            answer(other_id, "6.6.6.6"),
            answer(query[:2] + question("evil.example")[2:], "6.6.6.6"),
            answer(query, "10.96.0.1"),
        ]

    async def scenario():
        async with open_names(forge) as (link, _, _):
            assert addresses(await link.ask(question())) == ["10.96.0.1"]

    run(scenario())


def test_silence_ends_with_servfail_for_this_question():
    async def scenario():
        async with open_names(never, timeout_s=0.1) as (link, _, _):
            got = DNSRecord.parse(await link.ask(question(message_id=5)))
            assert got.header.rcode == RCODE.SERVFAIL
            assert got.header.id == 5
            assert got.header.qr == 1
            assert str(got.q.qname) == "tomcat.demo.svc.cluster.local."

    run(scenario())


def test_a_lost_datagram_is_sent_again(monkeypatch):
    monkeypatch.setattr("ktnet.shadow.resolver.RESEND_S", 0.05)

    def lose_the_first(server, query):
        return [answer(query)] if len(server.queries) > 1 else []

    async def scenario():
        async with open_names(lose_the_first, timeout_s=5) as (link, server, _):
            assert addresses(await link.ask(question())) == ["10.96.0.7"]
            assert server.queries[0] == server.queries[1]
            assert server.ports[0] == server.ports[1]

    run(scenario())


def test_the_next_server_is_asked_when_one_is_silent_or_not_there():
    async def scenario():
        # 127.0.0.2 has nobody listening (ICMP says so at once); ::1 likewise.
        servers = ["127.0.0.2", "::1", "127.0.0.1"]
        async with open_names(plainly, servers=servers) as (link, _, _):
            started = time.monotonic()
            assert addresses(await link.ask(question())) == ["10.96.0.7"]
            assert time.monotonic() - started < 1

    run(scenario())


@pytest.mark.parametrize("reply", [[], [b""], [b"\0\1"], [b"x" * 40], [answer(question("other"))]])
def test_a_resolver_that_is_odd_on_tcp_gives_servfail(reply):
    def truncated(_server, query):
        message = bytearray(answer(query))
        message[2] |= 2
        return [bytes(message)]

    async def scenario():
        async with open_names(truncated, lambda _s, _q: reply, timeout_s=0.2) as (link, _, _):
            assert DNSRecord.parse(await link.ask(question())).header.rcode == RCODE.SERVFAIL

    run(scenario())


def test_an_asker_that_gives_up_does_not_disturb_others():
    async def scenario():
        async with open_names(never, timeout_s=5) as (link, server, _):
            with pytest.raises(DnsError, match="within"):
                await link.ask(question("slow.x"), timeout_s=0.1)
            server.by_udp = plainly
            assert addresses(await link.ask(question("quick.x"))) == ["10.96.0.7"]
            assert link.closed is None

    run(scenario())


def test_an_asker_that_gives_up_while_the_channel_opens_does_not_take_it_along():
    async def scenario():
        async with open_names(plainly) as (link, _, ends):
            first = asyncio.ensure_future(link.ask(question("a.x")))
            second = asyncio.ensure_future(link.ask(question("b.x")))
            await asyncio.sleep(0)
            first.cancel()
            assert addresses(await second) == ["10.96.0.7"]
            (server_side,) = ends.shadow.connections
            assert len(server_side._channels) == 1

    run(scenario())


@pytest.mark.parametrize(
    "query", [b"", b"\0" * 11, b"\0" * 12, question()[:-1], answer(question()), b"\xff" * 50]
)
def test_what_is_no_question_is_not_sent(query):
    async def scenario():
        async with open_names(plainly) as (link, server, _):
            with pytest.raises(DnsError):
                await link.ask(query)
            assert not server.queries

    run(scenario())


async def raw_channel(ends):
    client = await asyncssh.connect(
        "127.0.0.1",
        ends.port,
        config=None,
        known_hosts=None,
        username="ktnet",
        client_keys=[ends.client_key],
        agent_path=None,
    )
    writer, reader, _ = await client.open_session(
        subsystem="ktnet-dns", encoding=None, window=65536
    )
    return client, writer, reader


@pytest.mark.parametrize("frame", [b"\0\0", b"\0\5abcde", build_frame(b"\xff" * 40)])
def test_the_shadow_closes_the_channel_of_who_sends_garbage(frame):
    async def scenario():
        async with open_names(plainly) as (link, _, ends):
            client, writer, reader = await raw_channel(ends)
            writer.write(frame)
            assert await reader.read() == b""
            assert any("subsystem closed" in line for line in ends.log_lines)
            assert addresses(await link.ask(question())) == ["10.96.0.7"]
            client.close()
            await client.wait_closed()

    run(scenario())


def test_frames_may_come_in_any_pieces():
    async def scenario():
        async with open_names(plainly) as (_, _, ends):
            client, writer, reader = await raw_channel(ends)
            for byte in build_frame(question()) + build_frame(question("b.x", 2)):
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            for _ in range(2):
                length = int.from_bytes(await reader.readexactly(2), "big")
                assert addresses(await reader.readexactly(length)) == ["10.96.0.7"]
            client.close()
            await client.wait_closed()

    run(scenario())


def test_who_asks_without_reading_is_asked_to_wait():
    async def scenario():
        async with open_names(plainly, timeout_s=5) as (link, server, ends):
            client, writer, reader = await raw_channel(ends)
            reader._session._chan.pause_reading()
            frame = build_frame(question())
            writer.write(frame * 10_000)
            before = -1
            while before != len(server.queries):
                before = len(server.queries)
                await asyncio.sleep(0.2)
            assert before < 5_000
            assert addresses(await link.ask(question())) == ["10.96.0.7"]
            client.abort()
            await client.wait_closed()
            await until(lambda: ends.shadow.attendance.attached == 1)

    run(scenario())


def test_the_channel_is_opened_again_after_it_was_lost():
    async def scenario():
        async with open_names(plainly) as (link, _, ends):
            await link.ask(question())
            (server_side,) = ends.shadow.connections
            (channel,) = server_side._channels.values()
            asking = asyncio.ensure_future(link.ask(question("lost.x")))
            await asyncio.sleep(0)
            channel.abort()
            with contextlib.suppress(TunnelError):
                await asking
            await link.round_trip()
            assert addresses(await link.ask(question())) == ["10.96.0.7"]

    run(scenario())


def test_a_server_without_the_subsystem_is_an_error_that_says_so():
    async def scenario():
        async with open_names(plainly) as (link, _, ends):
            original, names.DNS_SUBSYSTEM = names.DNS_SUBSYSTEM, "something-else"
            try:
                with pytest.raises(TunnelError, match="gives no DNS"):
                    await link.ask(question())
            finally:
                names.DNS_SUBSYSTEM = original
            assert addresses(await link.ask(question())) == ["10.96.0.7"]
            assert not ends.shadow.draining

    run(scenario())
