"""What `ktnet dns` tells of a name."""

import asyncio
from ipaddress import IPv4Address

import pytest
from dnslib import AAAA, CAA, HTTPS, QTYPE, RR, SOA, SRV, TXT, A, DNSRecord
from nameservers import answer_known, open_nameserver, open_test_proxy

from ktnet.dns.explain import build_candidates
from ktnet.dns.messages import parse_own_answer
from ktnet.dns.names import format_name
from ktnet.dns.policy import build_policy
from ktnet.dns.text import format_rcode, format_records, format_type, parse_type
from ktnet.errors import UsageError
from ktnet.wire.service import Service

SEARCH = ("demo.svc.cluster.local", "svc.cluster.local", "office.example")
TOMCAT = Service(headless=False, addresses=(IPv4Address("10.96.0.7"),))


def find(namespace: str, name: str) -> Service | None:
    return TOMCAT if (namespace, name) == ("demo", "tomcat") else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tomcat", [*(f"tomcat.{domain}." for domain in SEARCH), "tomcat."]),
        ("tomcat.demo", ["tomcat.demo.", *(f"tomcat.demo.{domain}." for domain in SEARCH)]),
        ("tomcat.demo.", ["tomcat.demo."]),
        ("tomcat.", ["tomcat."]),
        (".", ["."]),
        ("", ["."]),
        (".".join(["a" * 60] * 4), [".".join(["a" * 60] * 4) + "."]),  # completed, too long
    ],
)
def test_candidates(text: str, expected: list[str]) -> None:
    assert [format_name(name) for name in build_candidates(text, SEARCH)] == expected


def test_candidates_that_are_no_names() -> None:
    with pytest.raises(UsageError):
        build_candidates("a..b", SEARCH)


async def ask_cluster(message: bytes) -> bytes:
    query = DNSRecord.parse(message)
    reply = query.reply(ra=0)
    if str(query.q.qname) == "tomcat.demo.svc.cluster.local.":
        reply.add_answer(RR(query.q.qname, QTYPE.A, ttl=30, rdata=A("10.96.0.7")))
    else:
        reply.header.rcode = 3
        reply.add_auth(RR("cluster.local", QTYPE.SOA, ttl=30, rdata=SOA("ns.dns", "h")))
    return bytes(reply.pack())


def test_each_try_is_told() -> None:
    async def main() -> None:
        policy = build_policy("cluster.local", [], find)
        async with (
            open_nameserver(answer_known) as office,
            open_test_proxy(
                policy=policy,
                ask_cluster=ask_cluster,
                upstreams=[IPv4Address("127.0.0.1")],
                port=office.port,
            ) as (proxy, _),
        ):
            (tried,) = await proxy.explain("tomcat", QTYPE.A, SEARCH)
            assert (tried.zone, tried.rule) == ("cluster", "the cluster's domain")
            assert (tried.name, tried.asked) == ("tomcat.demo.svc.cluster.local.",) * 2
            assert (tried.server, tried.cached, tried.qtype) == ("", False, 1)
            assert 0 < tried.time_s < 5
            (tried,) = await proxy.explain("tomcat", QTYPE.A, SEARCH)
            assert tried.cached
            (tried,) = await proxy.explain("Tomcat.demo", QTYPE.A, SEARCH)
            assert (tried.name, tried.rule) == ("Tomcat.demo.", "there is such a Service")
            assert tried.asked == "Tomcat.demo.svc.cluster.local."
            tries = await proxy.explain("absent.demo", QTYPE.A, SEARCH)
            assert [each.zone for each in tries] == ["outside", "cluster", "cluster", "outside"]
            assert tries[0].server == "127.0.0.1"
            # It exists, though not with such a record: nothing else is tried.
            assert len(await proxy.explain("example.com", QTYPE.TXT, SEARCH)) == 1

    asyncio.run(main())


def test_failure_is_told_as_what_it_is() -> None:
    async def main() -> None:
        async with open_test_proxy() as (proxy, _):
            (tried,) = await proxy.explain("example.com", QTYPE.A)
            answer = parse_own_answer(tried.answer)
            assert (answer.rcode, tried.server) == (2, "")

    asyncio.run(main())


def test_records_in_text() -> None:
    reply = DNSRecord.question("x.example").reply()
    for rtype, data, expected in [
        (QTYPE.A, A("10.96.0.7"), "10.96.0.7"),
        (QTYPE.AAAA, AAAA("fd00::7"), "fd00::7"),
        (QTYPE.SRV, SRV(0, 100, 80, "tomcat.demo"), "0 100 80 tomcat.demo."),
        (QTYPE.TXT, TXT("1.1.0"), '"1.1.0"'),
        (QTYPE.HTTPS, HTTPS(1, [b"x", b"example"], []), "1 x.example."),
        (QTYPE.CAA, CAA(0, "issue", "ca"), '0 issue "ca"'),
    ]:
        reply.rr = [RR("x.example", rtype, ttl=7, rdata=data)]
        (text,) = format_records(parse_own_answer(bytes(reply.pack())))
        assert (text.section, text.name, text.ttl_s) == ("answer", "x.example.", 7)
        assert (text.rtype, text.data) == (QTYPE[rtype], expected)


@pytest.mark.parametrize(
    ("rtype", "data", "expected"),
    [
        (1, b"\1\2", r"\# 2 0102"),  # an address of two octets
        (16, b"\xffx", r"\# 2 ff78"),
        (16, b"\3a\x1bb", r'"a\033b"'),  # would move the cursor
        (33, b"\0", r"\# 1 00"),
        (65280, b"", r"\# 0"),
    ],
)
def test_what_cannot_be_read_is_in_hex_and_what_cannot_be_shown_is_escaped(
    rtype: int, data: bytes, expected: str
) -> None:
    header = b"\0\0\x80\0\0\1\0\1\0\0\0\0"
    owner = b"\3a\x1bb\0"
    record = owner + rtype.to_bytes(2, "big") + b"\0\1" + bytes(4) + len(data).to_bytes(2, "big")
    question = owner + rtype.to_bytes(2, "big") + b"\0\1"
    (text,) = format_records(parse_own_answer(header + question + record + data))
    assert (text.name, text.data) == ("a\\027b.", expected)


def test_types_and_codes_in_text() -> None:
    assert [parse_type(text) for text in ("A", "aaaa", "SRV", "HTTPS", "TYPE65280")] == [
        1,
        28,
        33,
        65,
        65280,
    ]
    assert [format_type(number) for number in (1, 65280)] == ["A", "TYPE65280"]
    assert [format_rcode(number) for number in (0, 3, 15)] == ["NOERROR", "NXDOMAIN", "RCODE15"]
    for text in ("", "X", "TYPE", "TYPE65536", "TYPE-1", f"TYPE{'1' * 5000}", "TYPE٣"):
        with pytest.raises(UsageError):
            parse_type(text)
