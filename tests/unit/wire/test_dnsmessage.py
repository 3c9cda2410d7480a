from __future__ import annotations

import pytest
from dnslib import RCODE, DNSRecord

from ktnet.errors import RemoteProtocolError
from ktnet.wire.dnsmessage import (
    build_servfail,
    build_with_id,
    is_answer_to,
    is_query,
    is_truncated,
    parse_id,
    parse_question,
)

QUERY = DNSRecord.question("Tomcat.demo.svc.cluster.local", "SRV").pack()


def reply(query: bytes = QUERY, **header) -> bytes:
    record = DNSRecord.parse(query).reply()
    for name, value in header.items():
        setattr(record.header, name, value)
    return record.pack()


def test_the_question_is_name_type_and_class():
    assert parse_question(QUERY) == QUERY[12:]
    assert parse_question(QUERY + b"more") == QUERY[12:]


def test_the_id_can_be_exchanged():
    assert parse_id(build_with_id(QUERY, 0xABCD)) == 0xABCD
    assert build_with_id(QUERY, 0xABCD)[2:] == QUERY[2:]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        QUERY[:11],
        QUERY[:12],
        QUERY[:-1],
        QUERY[:-5],
        QUERY[:4] + b"\0\0" + QUERY[6:],
        QUERY[:4] + b"\0\2" + QUERY[6:],
        QUERY[:12] + b"\xc0\x0c\0\1\0\1",
        QUERY[:12] + b"\x40" + b"x" * 64 + b"\0\0\1\0\1",
        QUERY[:12] + (b"\x3f" + b"x" * 63) * 4 + b"\0\0\1\0\1",
    ],
)
def test_what_has_no_proper_question_is_their_fault(message):
    with pytest.raises(RemoteProtocolError):
        parse_question(message)


def test_the_longest_name_is_taken():
    name = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"x" * 61 + b"\0"
    assert len(name) == 255
    assert parse_question(QUERY[:12] + name + b"\0\1\0\1") == name + b"\0\1\0\1"


def test_flags():
    assert is_query(QUERY)
    assert not is_query(reply())
    assert not is_query(b"")
    assert is_truncated(reply(tc=1))
    assert not is_truncated(reply())
    assert not is_truncated(b"")


def test_an_answer_belongs_to_its_question():
    assert is_answer_to(QUERY, reply())
    assert is_answer_to(QUERY, QUERY[:2] + reply(DNSRecord.parse(QUERY.lower()).pack())[2:])
    assert not is_answer_to(QUERY, QUERY)
    assert not is_answer_to(QUERY, build_with_id(reply(), parse_id(QUERY) ^ 1))
    assert not is_answer_to(QUERY, b"")
    other = DNSRecord.question("tomcat.other.svc.cluster.local", "SRV").pack()
    assert not is_answer_to(QUERY, QUERY[:2] + reply(other)[2:])
    other_type = DNSRecord.question("Tomcat.demo.svc.cluster.local", "A").pack()
    assert not is_answer_to(QUERY, QUERY[:2] + reply(other_type)[2:])


@pytest.mark.parametrize(
    ("rcode", "belongs"), [("FORMERR", True), ("REFUSED", True), ("NOERROR", False)]
)
def test_some_errors_come_without_the_question(rcode, belongs):
    header = QUERY[:2] + bytes([0x81, getattr(RCODE, rcode)]) + bytes(8)
    assert is_answer_to(QUERY, header) is belongs


def test_servfail_is_an_answer_to_its_query():
    edns = DNSRecord.question("x.y")
    edns.header.rd = 1
    query = edns.pack()
    answer = build_servfail(query)
    assert is_answer_to(query, answer)
    parsed = DNSRecord.parse(answer)
    assert parsed.header.rcode == RCODE.SERVFAIL
    assert parsed.header.rd == 1
    assert not parsed.rr
