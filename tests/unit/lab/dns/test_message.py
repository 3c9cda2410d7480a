"""DNS messages: flags, refusals, EDNS and answers that must fit."""

import struct

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, A, DNSRecord

from ktnet.lab.dns.message import build_response
from ktnet.lab.dns.zone import Answer

NAME = "big.demo.svc.cluster.local"


def resolve(name: str, kind: int, dnssec: bool) -> Answer:
    assert name == NAME
    return Answer([RR(NAME, kind, ttl=30, rdata=A(f"10.9.0.{number}")) for number in range(1, 101)])


def ask(query: DNSRecord, *, udp: bool = True, recursive: bool = False) -> tuple[DNSRecord, int]:
    data = build_response(query.pack(), resolve, udp=udp, recursive=recursive)
    assert data is not None
    return DNSRecord.parse(data), len(data)


def test_the_question_comes_back_as_it_was_asked() -> None:
    query = DNSRecord.question("BIG.Demo.svc.cluster.LOCAL")
    answer, _ = ask(query, udp=False)
    assert answer.header.id == query.header.id
    assert str(answer.q.qname) == "BIG.Demo.svc.cluster.LOCAL."
    header = answer.header
    assert (header.qr, header.aa, header.tc, header.rd, header.ra) == (1, 1, 0, 1, 0)
    assert len(answer.rr) == 100


@pytest.mark.parametrize(("size", "limit"), [(None, 512), (512, 512), (1232, 1232), (100, 512)])
def test_an_answer_over_udp_is_cut_to_fit(size: int | None, limit: int) -> None:
    query = DNSRecord.question(NAME)
    if size is not None:
        query.add_ar(EDNS0(udp_len=size))
    answer, length = ask(query)
    assert length <= limit
    assert length > limit - 100
    assert answer.header.tc == 1
    assert 0 < len(answer.rr) < 100
    assert [each.rtype for each in answer.ar] == ([QTYPE.OPT] if size is not None else [])


def test_edns_makes_room_and_is_answered() -> None:
    query = DNSRecord.question(NAME)
    query.add_ar(EDNS0(udp_len=4096, flags="do"))
    answer, length = ask(query)
    assert 512 < length <= 4096
    assert answer.header.tc == 0
    (option,) = answer.ar
    assert (option.edns_len, option.edns_do) == (4096, 1)


def test_recursion_is_announced_where_it_is_available() -> None:
    assert ask(DNSRecord.question(NAME), recursive=True)[0].header.ra == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("123401000001000000000000ff", "123481010000000000000000"),
        (
            "123401000002000000000000037777770000010001037777770000010001",
            "123481010000000000000000",
        ),
        ("123410000001000000000000037777770000010001", "123490040000000000000000"),
        (
            "1234010000010000000000000776657273696f6e0462696e640000100003",
            "1234810200010000000000000776657273696f6e0462696e640000100003",
        ),
    ],
    ids=["truncated", "two questions", "opcode STATUS", "class CHAOS"],
)
def test_odd_queries_are_refused_as_coredns_does(query: str, expected: str) -> None:
    answer = build_response(bytes.fromhex(query), resolve, udp=True, recursive=False)
    assert answer == bytes.fromhex(expected)


@pytest.mark.parametrize("data", [b"", b"\x12", struct.pack("!6H", 1, 0x8000, 1, 0, 0, 0)])
def test_what_is_no_query_gets_no_answer(data: bytes) -> None:
    assert build_response(data, resolve, udp=True, recursive=False) is None


def test_refusals_carry_their_code() -> None:
    def refuse(name: str, kind: int, dnssec: bool) -> Answer:
        return Answer(rcode=RCODE.SERVFAIL, authoritative=False)

    data = build_response(DNSRecord.question("x.example").pack(), refuse, udp=True, recursive=False)
    assert data is not None
    header = DNSRecord.parse(data).header
    assert (header.rcode, header.aa) == (RCODE.SERVFAIL, 0)
