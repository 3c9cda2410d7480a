"""Answers for full names, told of the short names that were asked."""

import pytest
from dnslib import (
    CNAME,
    EDNS0,
    MX,
    NS,
    PTR,
    QTYPE,
    RD,
    RR,
    SOA,
    SRV,
    TXT,
    A,
    DNSRecord,
    EDNSOption,
)

from ktnet.dns.messages import build_question, parse_answer, parse_query
from ktnet.dns.rewrite import build_restored_answer
from ktnet.errors import RemoteProtocolError

FULL = (b"Tomcat", b"Demo", b"svc", b"cluster", b"local")


def asked_for(qtype: str):
    record = DNSRecord.question("Tomcat.Demo", qtype)
    record.header.id = 0xBEEF
    record.add_ar(EDNS0(udp_len=1232))
    return parse_query(bytes(record.pack()))


def restore(asked, wire: bytes) -> bytes:
    return build_restored_answer(parse_answer(wire, build_question(asked, FULL)), asked, FULL)


NAME = "tomcat.demo.svc.cluster.local"
TIMES = (1, 7200, 1800, 86400, 30)
RECORDS = [
    RR(NAME, QTYPE.CNAME, ttl=30, rdata=CNAME("x.demo.svc.cluster.local")),
    RR("x.demo.svc.cluster.local", QTYPE.A, ttl=7, rdata=A("10.96.0.7")),
    RR(NAME.upper(), QTYPE.SRV, ttl=5, rdata=SRV(1, 2, 80, "p.demo.svc.cluster.local")),
    RR("cluster.local", QTYPE.SOA, rdata=SOA("ns.dns.cluster.local", "h.cluster.local", TIMES)),
    RR("cluster.local", QTYPE.MX, rdata=MX("mail.cluster.local", 10)),
    RR("cluster.local", QTYPE.NS, rdata=NS("ns.dns.cluster.local")),
    RR("1.0.96.10.in-addr.arpa", QTYPE.PTR, rdata=PTR("kubernetes.default.svc.cluster.local")),
    RR(NAME, QTYPE.TXT, rdata=TXT([b"\xc0\x0c not a pointer", b""])),
    RR(NAME, 65280, rdata=RD(b"\xc0\x0c unknown")),
]


@pytest.mark.parametrize("section", ["add_answer", "add_auth", "add_ar"])
def test_only_owners_and_question_change(section: str) -> None:
    asked = asked_for("SRV")
    full = DNSRecord.parse(build_question(asked, FULL).wire)
    reply = full.reply(ra=0)
    getattr(reply, section)(*RECORDS)
    reply.add_ar(EDNS0(udp_len=1232, opts=[EDNSOption(3, b"nsid"), EDNSOption(8, b"")]))
    wire = restore(asked, bytes(reply.pack()))

    assert wire[12 : asked.question_end] == asked.wire[12 : asked.question_end]
    for record in [*reply.rr, *reply.auth, *reply.ar]:
        if record.rname == NAME:
            record.rname = "Tomcat.Demo"
    restored = DNSRecord.parse(wire)
    assert restored.header == reply.header
    for before, after in [
        (reply.rr, restored.rr),
        (reply.auth, restored.auth),
        (reply.ar[:-1], restored.ar[:-1]),
    ]:
        assert after == before
        assert [record.ttl for record in after] == [record.ttl for record in before]
        assert [str(record.rname) for record in after] == [str(r.rname) for r in before]
    assert wire.endswith(bytes.fromhex("000029 04d0 00000000 000c 0003 0004 6e736964 0008 0000"))


def test_recorded_answer() -> None:
    """Of CoreDNS, to a question in mixed case."""
    asked = parse_query(bytes(DNSRecord.question("DNS.Transcripts").pack()))
    full = (b"DNS", b"Transcripts", b"svc", b"cluster", b"local")
    recorded = bytes.fromhex(
        "12348500000100010000000003444e530b5472616e736372697074730373766307636c7573746572056c6f63616c"
        "000001000103646e730b7472616e736372697074730373766307636c7573746572056c6f63616c00000100010000"
        "001e00040a60027a"
    )
    wire = asked.id.to_bytes(2, "big") + recorded[2:]
    answer = parse_answer(wire, build_question(asked, full))
    restored = DNSRecord.parse(build_restored_answer(answer, asked, full))
    assert str(restored.q.qname) == str(restored.rr[0].rname) == "DNS.Transcripts."
    assert (str(restored.rr[0].rdata), restored.rr[0].ttl) == ("10.96.2.122", 30)


def test_answer_of_over_16_kib_keeps_its_names() -> None:
    """Pointers reach no further than that, so names behind it can't be pointed at."""
    asked = asked_for("SRV")
    reply = DNSRecord.parse(build_question(asked, FULL).wire).reply()
    targets = [f"pod-{number}.tomcat.demo.svc.cluster.local" for number in range(500)]
    for target in targets:
        reply.add_answer(RR("Tomcat.Demo.svc.cluster.local", QTYPE.SRV, rdata=SRV(0, 0, 1, target)))
    for target in targets:
        reply.add_ar(RR(target, QTYPE.TXT, rdata=RD(bytes(4))))
    pieces = [bytes(DNSRecord(reply.header, reply.questions).pack())]
    for record in [*reply.rr, *reply.ar]:
        buffer = DNSRecord(rr=[record]).pack()
        pieces.append(bytes(buffer[12:]))
    pieces[0] = pieces[0][:6] + bytes.fromhex("01f4 0000 01f4") + pieces[0][12:]
    wire = b"".join(pieces)
    assert len(wire) > 1 << 14
    restored = DNSRecord.parse(restore(asked, wire))
    assert [str(record.rdata.target) for record in restored.rr] == [t + "." for t in targets]
    assert [str(record.rname) for record in restored.ar] == [t + "." for t in targets]
    assert {str(record.rname) for record in restored.rr} == {"Tomcat.Demo."}


def with_data(rtype: int, data: str) -> bytes:
    """An answer with one record of this type and data."""
    full = build_question(asked_for("A"), FULL)
    raw = bytes.fromhex(data)
    header = full.wire[:2] + bytes.fromhex("8180 0001 0001 0000 0000")
    record = b"\xc0\x0c" + rtype.to_bytes(2, "big") + bytes.fromhex("0001 00000000")
    return header + full.wire[12 : full.question_end] + record + len(raw).to_bytes(2, "big") + raw


@pytest.mark.parametrize(
    ("rtype", "data"),
    [
        (QTYPE.CNAME, "c0ff"),
        (QTYPE.CNAME, "0161"),
        (QTYPE.CNAME, "3f61"),
        (QTYPE.MX, "00"),
        (QTYPE.SRV, "00000000"),
        (QTYPE.SOA, "c00c"),
        (QTYPE.SOA, "c00c01"),
    ],
)
def test_broken_names_in_data_are_refused(rtype: int, data: str) -> None:
    with pytest.raises(RemoteProtocolError):
        restore(asked_for("A"), with_data(rtype, data))


def test_record_without_data_is_kept() -> None:
    restored = restore(asked_for("A"), with_data(QTYPE.CNAME, ""))
    assert restored.endswith(bytes.fromhex("c00c 0005 0001 00000000 0000"))


def test_answer_that_would_not_fit_any_more_is_refused() -> None:
    asked = asked_for("SRV")
    full = build_question(asked, FULL)
    head = asked.id.to_bytes(2, "big") + bytes.fromhex("8180 0001 0bb8 0000 0000")
    record = bytes.fromhex("c013 0021 0001 00000000 0008 000000000000 c00c")
    wire = head + full.wire[12 : full.question_end] + record * 3000
    assert len(wire) < 65536
    with pytest.raises(RemoteProtocolError):
        restore(asked, wire)
