"""Asking this machine's own nameservers: order, failover, truncation, forged answers."""

import asyncio
import time
from ipaddress import IPv4Address, IPv6Address

import pytest
from dnslib import DNSRecord
from nameservers import (
    Respond,
    answer_known,
    answer_large,
    answer_with_rcode,
    bind_both,
    keep_silent,
    open_nameserver,
    question,
)

from ktnet.dns import upstream as upstream_module
from ktnet.dns.messages import Answer, parse_query
from ktnet.dns.upstream import Upstreams
from ktnet.errors import DnsError

FIRST, SECOND = IPv4Address("127.0.0.2"), IPv4Address("127.0.0.3")


@pytest.fixture(autouse=True)
def _short_times(monkeypatch) -> None:
    monkeypatch.setattr(upstream_module, "_HEAD_START_S", 0.1)
    monkeypatch.setattr(upstream_module, "_REPEAT_S", 0.15)
    monkeypatch.setattr(upstream_module, "_TCP_TIME_S", 0.3)
    monkeypatch.setattr(upstream_module, "TOTAL_TIME_S", 1.0)


async def ask(upstreams: Upstreams, name: str = "example.com", *, over_tcp: bool = False) -> Answer:
    query = parse_query(question(name))
    answer = await upstreams.ask(query, over_tcp=over_tcp)
    assert answer.wire[:2] == query.wire[:2]
    return answer


def one_after_the_other(*responses: Respond) -> Respond:
    """Responds to each query as the next of `responses` does."""
    following = iter(responses)

    def respond(query: DNSRecord, transport: str) -> list[bytes]:
        return next(following)(query, transport)

    return respond


def test_first_nameserver_is_asked_and_no_other() -> None:
    async def main() -> None:
        async with (
            open_nameserver(answer_known, address=str(FIRST)) as first,
            open_nameserver(answer_known, address=str(SECOND), port=first.port) as second,
        ):
            upstreams = Upstreams([FIRST, SECOND], port=first.port)
            for _ in range(5):
                assert (await ask(upstreams)).rcode == 0
            assert (len(first.asked), len(second.asked)) == (5, 0)

    asyncio.run(main())


def test_ids_and_ports_are_fresh_each_time() -> None:
    async def main() -> None:
        async with open_nameserver(answer_known) as server:
            upstreams = Upstreams([IPv4Address("127.0.0.1")], port=server.port)
            for _ in range(20):
                await ask(upstreams)
            assert len({query.header.id for _, query in server.asked}) > 10
            assert len({port for _, port in server.clients}) > 10

    asyncio.run(main())


def test_dead_nameserver_costs_nothing() -> None:
    """Its machine says at once that nothing listens there."""

    async def main() -> None:
        async with open_nameserver(answer_known, address=str(SECOND)) as second:
            start_s = time.monotonic()
            await ask(Upstreams([FIRST, SECOND], port=second.port))
            assert time.monotonic() - start_s < 0.1

    asyncio.run(main())


def test_silent_nameserver_costs_its_head_start_once() -> None:
    async def main() -> None:
        async with (
            open_nameserver(keep_silent, address=str(FIRST)) as first,
            open_nameserver(answer_known, address=str(SECOND), port=first.port) as second,
        ):
            upstreams = Upstreams([FIRST, SECOND], port=first.port)
            for _ in range(5):
                await ask(upstreams)
            assert (len(first.asked), len(second.asked)) == (1, 5)

    asyncio.run(main())


def test_nameserver_is_asked_first_again_when_its_silence_is_forgotten(monkeypatch) -> None:
    monkeypatch.setattr("ktnet.stream.nameservers.SILENCE_REMEMBERED_S", 0.0)

    async def main() -> None:
        async with (
            open_nameserver(
                one_after_the_other(keep_silent, answer_known), address=str(FIRST)
            ) as first,
            open_nameserver(answer_known, address=str(SECOND), port=first.port) as second,
        ):
            upstreams = Upstreams([FIRST, SECOND], port=first.port)
            await ask(upstreams)
            await ask(upstreams)
            assert (len(first.asked), len(second.asked)) == (2, 1)

    asyncio.run(main())


def test_slow_nameserver_is_still_heard_after_the_next_was_asked() -> None:
    async def main() -> None:
        second_asked = asyncio.Event()

        def second_says_nothing(query: DNSRecord, transport: str) -> list[bytes]:
            second_asked.set()
            return []

        loop = asyncio.get_running_loop()
        udp, tcp = bind_both(str(FIRST))
        udp.setblocking(False)
        port = udp.getsockname()[1]
        async with open_nameserver(second_says_nothing, address=str(SECOND), port=port):
            with udp, tcp:
                asking = asyncio.ensure_future(ask(Upstreams([FIRST, SECOND], port=port)))
                data, client = await loop.sock_recvfrom(udp, 512)
                await second_asked.wait()
                await loop.sock_sendto(udp, answer_known(DNSRecord.parse(data), "udp")[0], client)
                assert str(DNSRecord.parse((await asking).wire).rr[0].rdata) == "192.0.2.1"

    asyncio.run(main())


@pytest.mark.parametrize("rcode", [2, 4, 5])
def test_nameserver_that_speaks_of_itself_is_passed_over(rcode: int) -> None:
    """SERVFAIL, NOTIMP and REFUSED say nothing about the name, so the next one is asked."""

    async def main() -> None:
        async with (
            open_nameserver(answer_with_rcode(rcode), address=str(FIRST)) as first,
            open_nameserver(answer_known, address=str(SECOND), port=first.port),
        ):
            assert (await ask(Upstreams([FIRST, SECOND], port=first.port))).rcode == 0

    asyncio.run(main())


def test_what_the_first_said_counts_where_all_fail() -> None:
    async def main() -> None:
        async with (
            open_nameserver(answer_with_rcode(5), address=str(FIRST)) as first,
            open_nameserver(answer_with_rcode(2), address=str(SECOND), port=first.port),
        ):
            assert (await ask(Upstreams([FIRST, SECOND], port=first.port))).rcode == 5

    asyncio.run(main())


def test_nxdomain_is_an_answer() -> None:
    async def main() -> None:
        async with (
            open_nameserver(answer_known, address=str(FIRST)) as first,
            open_nameserver(answer_known, address=str(SECOND), port=first.port) as second,
        ):
            upstreams = Upstreams([FIRST, SECOND], port=first.port)
            assert (await ask(upstreams, "nobody.example.com")).rcode == 3
            assert second.asked == []

    asyncio.run(main())


def test_lost_datagram_is_sent_again() -> None:
    async def main() -> None:
        async with open_nameserver(one_after_the_other(keep_silent, answer_known)) as server:
            await ask(Upstreams([IPv4Address("127.0.0.1")], port=server.port))
            assert len(server.asked) == 2
            assert len(set(server.clients)) == 1  # a late answer to the first would be heard, too

    asyncio.run(main())


def test_answers_that_do_not_match_are_not_heard() -> None:
    def forge(query: DNSRecord, transport: str) -> list[bytes]:
        (true,) = answer_known(query, transport)
        wrong_id = (query.header.id ^ 1).to_bytes(2, "big") + true[2:]
        other = DNSRecord.parse(question("example.org", id_=query.header.id))
        other_type = DNSRecord.parse(question("example.com", "TXT", id_=query.header.id))
        no_question = true[:4] + bytes(8)
        echo = bytes(query.pack())
        cut_off = true[:-1]
        return [
            wrong_id,
            *answer_known(other, transport),
            *answer_known(other_type, transport),
            no_question,
            echo,
            cut_off,
            b"",
            b"\xff" * 100,
            true,
        ]

    async def main() -> None:
        async with open_nameserver(forge) as server:
            answer = await ask(Upstreams([IPv4Address("127.0.0.1")], port=server.port))
            assert str(DNSRecord.parse(answer.wire).rr[0].rdata) == "192.0.2.1"
            assert len(server.asked) == 1

    asyncio.run(main())


def test_answer_from_another_address_is_not_heard() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        udp, tcp = bind_both(str(FIRST))
        forger, forger_tcp = bind_both(str(SECOND))
        with udp, tcp, forger, forger_tcp:
            udp.setblocking(False)
            upstreams = Upstreams([FIRST], port=udp.getsockname()[1])
            asking = asyncio.ensure_future(ask(upstreams))
            data, client = await loop.sock_recvfrom(udp, 512)
            forged = answer_with_rcode(3)(DNSRecord.parse(data), "udp")[0]
            forger.sendto(forged, client)
            udp.sendto(answer_known(DNSRecord.parse(data), "udp")[0], client)
            assert (await asking).rcode == 0

    asyncio.run(main())


def test_error_without_a_question_is_an_answer() -> None:
    """As servers send it that could not read the question; CoreDNS among them."""

    def refuse(query: DNSRecord, transport: str) -> list[bytes]:
        return [query.header.id.to_bytes(2, "big") + bytes.fromhex("81010000000000000000")]

    async def main() -> None:
        async with open_nameserver(refuse) as server:
            upstreams = Upstreams([IPv4Address("127.0.0.1")], port=server.port)
            assert (await ask(upstreams)).rcode == 1

    asyncio.run(main())


def cut_within_a_message(query: DNSRecord, transport: str) -> list[bytes]:
    """Truncated over UDP, and over TCP an answer that promises more than comes."""
    (message,) = answer_large(query, transport)
    return [message] if transport == "udp" else []


def garble_over_tcp(query: DNSRecord, transport: str) -> list[bytes]:
    (message,) = answer_large(query, transport)
    return [message] if transport == "udp" else [b"\xff" * 40]


@pytest.mark.parametrize("respond", [cut_within_a_message, garble_over_tcp, None])
def test_truncated_answer_has_to_do_where_tcp_fails(respond) -> None:
    async def main() -> None:
        tcp = respond is not None
        async with open_nameserver(respond or answer_large, tcp=tcp) as server:
            upstreams = Upstreams([IPv4Address("127.0.0.1")], port=server.port)
            assert (await ask(upstreams, over_tcp=True)).truncated

    asyncio.run(main())


def test_truncated_answer_has_to_do_where_tcp_is_silent() -> None:
    async def main() -> None:
        udp, tcp = bind_both()
        udp.setblocking(False)
        with udp, tcp:  # the kernel accepts, nobody answers
            loop = asyncio.get_running_loop()
            upstreams = Upstreams([IPv4Address("127.0.0.1")], port=udp.getsockname()[1])
            asking = asyncio.ensure_future(ask(upstreams, over_tcp=True))
            data, client = await loop.sock_recvfrom(udp, 512)
            await loop.sock_sendto(udp, answer_large(DNSRecord.parse(data), "udp")[0], client)
            assert (await asking).truncated

    asyncio.run(main())


def test_all_silent_is_an_error_in_time() -> None:
    async def main() -> None:
        async with open_nameserver(keep_silent) as server:
            start_s = time.monotonic()
            with pytest.raises(DnsError):
                await ask(Upstreams([IPv4Address("127.0.0.1")], port=server.port))
            assert 0.9 < time.monotonic() - start_s < 2.0

    asyncio.run(main())


def test_none_to_ask_is_an_error_at_once() -> None:
    with pytest.raises(DnsError):
        asyncio.run(ask(Upstreams([])))


def test_link_local_nameserver_keeps_its_interface() -> None:
    _, address = upstream_module._socket_address(IPv6Address("fe80::1%lo"), 53)
    assert (address[0].split("%")[0], address[1], address[3]) == ("fe80::1", 53, 1)
    with pytest.raises(DnsError):
        upstream_module._socket_address(IPv6Address("fe80::1%nosuch0"), 53)
