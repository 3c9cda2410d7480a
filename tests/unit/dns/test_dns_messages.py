"""Parsing of queries and answers, what is answered to the others, and cutting to size."""

import struct

import pytest
from dnslib import EDNS0, QTYPE, RR, TXT, A, DNSRecord, EDNSOption

from ktnet.dns.messages import (
    SERVFAIL,
    build_error,
    build_question,
    build_rejection,
    fit_answer,
    parse_answer,
    parse_query,
)
from ktnet.dns.names import build_wire_name, fits_wire, read_wire_name, skip_wire_name
from ktnet.errors import RemoteProtocolError


def query_for(name: str = "a.example", qtype: str = "A", udp_len: int | None = None, opts=()):
    record = DNSRecord.question(name, qtype)
    if udp_len is not None:
        record.add_ar(EDNS0(udp_len=udp_len, opts=list(opts), flags="do"))
    return parse_query(bytes(record.pack()))


def test_query_is_read_as_dnslib_wrote_it() -> None:
    query = query_for("MiXeD.Example", "SRV", 4096, [EDNSOption(3, b"nsid")])
    assert query.name == (b"MiXeD", b"Example")
    assert (query.qtype, query.qclass, query.udp_size) == (QTYPE.SRV, 1, 4096)
    assert query.opt[:1] == b"\0"
    assert query.wire.endswith(query.opt)
    assert query.wire[12 : query.question_end] == b"\x05MiXeD\x07Example\0\0\x21\0\1"


@pytest.mark.parametrize(("said", "meant"), [(None, 512), (0, 512), (100, 512), (65535, 65507)])
def test_udp_size(said: int | None, meant: int) -> None:
    assert query_for(udp_len=said).udp_size == meant


HEADER = "1234010000010000000000"
QUESTION = "0161076578616d706c650000010001"
OPT_RECORD = "0000290200000000000000"


@pytest.mark.parametrize(
    "message",
    [
        "",
        "1234",
        HEADER,
        HEADER + "00",
        HEADER + "00" + QUESTION[:-2],
        HEADER + "00" + QUESTION + "00",
        HEADER + "00" + "c00c00010001",
        HEADER + "00" + "0161c00c00010001",
        HEADER + "00" + "40" + QUESTION,
        HEADER + "00" + "3f" * 5 + QUESTION,
        HEADER + "00" + ("3f" + "61" * 63) * 4 + "0000010001",
        HEADER + "01" + QUESTION,
        HEADER + "01" + QUESTION + OPT_RECORD[:-2],
        HEADER + "01" + QUESTION + OPT_RECORD.replace("000000000000", "000000000001"),
        HEADER + "01" + QUESTION + "c00c" + OPT_RECORD[2:],
        HEADER + "02" + QUESTION + OPT_RECORD * 2,
        "1234010000000000000000" + "00",
        "1234010000020000000000" + "00" + QUESTION * 2,
        "1234010000010001000000" + "00" + QUESTION + "c00c000100010000000100047f000001",
        "1234010000010000000100" + "00" + QUESTION + "c00c000100010000000100047f000001",
    ],
)
def test_what_is_no_query_is_a_format_error(message: str) -> None:
    wire = bytes.fromhex(message)
    with pytest.raises(RemoteProtocolError):
        parse_query(wire)
    rejection = build_rejection(wire)
    if len(wire) < 12:
        assert rejection is None
    else:
        assert rejection == bytes.fromhex("123481010000000000000000")


@pytest.mark.parametrize("flags", ["8000", "8180", "a900", "ffff"])
def test_reply_is_never_replied_to(flags: str) -> None:
    wire = bytes.fromhex("1234" + flags + "00010000000000" + "00" + QUESTION)
    with pytest.raises(RemoteProtocolError):
        parse_query(wire)
    assert build_rejection(wire) is None


def test_other_opcodes_are_not_implemented() -> None:
    wire = bytes.fromhex("123428000001000000000000" + QUESTION)
    with pytest.raises(RemoteProtocolError):
        parse_query(wire)
    assert build_rejection(wire) == bytes.fromhex("1234a8040000000000000000")


def test_error_repeats_the_question_and_tells_why_to_who_can_hear_it() -> None:
    with_edns = query_for("a.b", "TXT", 1232)
    parsed = DNSRecord.parse(build_error(with_edns, SERVFAIL, "a reason"))
    assert (parsed.header.qr, parsed.header.ra, parsed.header.rcode) == (1, 1, SERVFAIL)
    assert parsed.q == DNSRecord.parse(with_edns.wire).q
    assert parsed.ar[0].rdata == [EDNSOption(15, b"\0\x17a reason")]
    assert DNSRecord.parse(build_error(with_edns, SERVFAIL)).ar[0].rdata == []
    assert DNSRecord.parse(build_error(query_for("a.b"), SERVFAIL, "a reason")).ar == []


def test_question_for_another_name_keeps_all_but_the_name() -> None:
    query = query_for("a.b", "SRV", 1232, [EDNSOption(3, b"x")])
    full = build_question(query, (b"a", b"b", b"svc", b"cluster", b"local"))
    assert full == parse_query(full.wire)
    parsed, before = DNSRecord.parse(full.wire), DNSRecord.parse(query.wire)
    assert str(parsed.q.qname) == "a.b.svc.cluster.local."
    assert (parsed.header.id, parsed.q.qtype, parsed.ar) == (query.id, QTYPE.SRV, before.ar)


def answer_with(count: int, *, additional: int = 0, edns: bool = False):
    query = query_for("many.example", udp_len=1232 if edns else None)
    reply = DNSRecord.parse(query.wire).reply()
    for number in range(count):
        reply.add_answer(RR("many.example", QTYPE.A, ttl=5, rdata=A(f"192.0.2.{number}")))
    for number in range(additional):
        reply.add_ar(RR("many.example", QTYPE.TXT, ttl=5, rdata=TXT(f"{number:03d}")))
    if edns:
        reply.add_ar(EDNS0(udp_len=4096))
    return parse_answer(bytes(reply.pack()), query)


def test_answer_that_fits_is_not_touched() -> None:
    answer = answer_with(10, edns=True)
    assert fit_answer(answer, len(answer.wire)) is answer.wire


@pytest.mark.parametrize("edns", [False, True])
@pytest.mark.parametrize("size", [512, 513, 700, 1232])
def test_answer_is_cut_between_records(size: int, edns: bool) -> None:
    answer = answer_with(120, edns=edns)
    wire = fit_answer(answer, size)
    assert size - 16 < len(wire) <= size
    parsed = DNSRecord.parse(wire)
    assert (parsed.header.tc, parsed.header.aa) == (1, 1)
    assert [str(r.rdata) for r in parsed.rr] == [f"192.0.2.{i}" for i in range(len(parsed.rr))]
    assert [r.rtype for r in parsed.ar] == ([QTYPE.OPT] if edns else [])


def test_missing_additional_records_are_no_truncation() -> None:
    answer = answer_with(3, additional=60, edns=True)
    parsed = DNSRecord.parse(fit_answer(answer, 512))
    assert (parsed.header.tc, len(parsed.rr)) == (0, 3)
    assert 0 < len(parsed.ar) < 61
    assert parsed.ar[-1].rtype == QTYPE.OPT


def test_answer_with_an_opt_too_large_for_the_client_loses_it() -> None:
    query = query_for("a.example", udp_len=512)
    reply = DNSRecord.parse(query.wire).reply()
    reply.add_ar(EDNS0(udp_len=4096, opts=[EDNSOption(12, bytes(600))]))
    parsed = DNSRecord.parse(fit_answer(parse_answer(bytes(reply.pack()), query), 512))
    assert (parsed.header.tc, parsed.ar) == (0, [])


def test_bytes_behind_an_answer_are_cut_off() -> None:
    query = query_for("a.example")
    wire = bytes(DNSRecord.parse(query.wire).reply().pack())
    assert parse_answer(wire + b"smuggled", query).wire == wire


def test_answer_in_another_case_is_an_answer() -> None:
    query = query_for("a.example")
    wire = bytes(DNSRecord.parse(query.wire).reply().pack()).replace(b"example", b"EXAMPLE")
    assert parse_answer(wire, query).wire == wire


def test_records_out_of_bounds_are_refused() -> None:
    query = query_for("a.example")
    reply = DNSRecord.parse(query.wire).reply()
    reply.add_answer(RR("a.example", QTYPE.A, ttl=5, rdata=A("192.0.2.1")))
    wire = bytes(reply.pack())
    for cut in range(len(wire)):
        with pytest.raises(RemoteProtocolError):
            parse_answer(wire[:cut], query)
    too_many = wire[:6] + struct.pack("!H", 2) + wire[8:]
    with pytest.raises(RemoteProtocolError):
        parse_answer(too_many, query)


def test_names_with_pointers() -> None:
    message = bytes(12) + b"\x01a\x03com\0" + b"\x01b\xc0\x0e" + b"\xc0\x13" + b"rest"
    assert read_wire_name(message, 12) == ((b"a", b"com"), 19)
    assert read_wire_name(message, 19) == ((b"b", b"com"), 23)
    assert read_wire_name(message, 23) == ((b"b", b"com"), 25)
    assert skip_wire_name(message, 19) == 23
    assert skip_wire_name(message, 23) == 25


@pytest.mark.parametrize(
    "name",
    [
        "c00c",  # itself
        "0161c00c",  # its own beginning
        "c00e00",  # forward
        "c000",  # into the header
        "c0",
        "8001",
        "4100",
        "05616263",
        "",
    ],
)
def test_names_that_lead_astray(name: str) -> None:
    message = bytes(12) + bytes.fromhex(name)
    with pytest.raises(RemoteProtocolError):
        read_wire_name(message, 12)
    with pytest.raises(RemoteProtocolError):
        skip_wire_name(message, 12)


def test_two_pointers_to_each_other() -> None:
    message = bytes(12) + b"\x01a\xc0\x10" + b"\x01b\xc0\x0c"
    with pytest.raises(RemoteProtocolError):
        read_wire_name(message, 16)


def test_name_of_255_octets_is_the_longest() -> None:
    longest = (b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61)
    wire = bytes(12) + build_wire_name(longest)
    assert fits_wire(longest)
    assert read_wire_name(wire, 12) == (longest, len(wire))
    assert skip_wire_name(wire, 12) == len(wire)
    longer = (b"e", *longest)
    assert not fits_wire(longer)
    wire = bytes(12) + build_wire_name(longer)
    for read in (read_wire_name, skip_wire_name):
        with pytest.raises(RemoteProtocolError):
            read(wire, 12)
    through_pointer = bytes(12) + build_wire_name(longest) + b"\x01e\xc0\x0c"
    with pytest.raises(RemoteProtocolError):
        read_wire_name(through_pointer, 12 + 255)
