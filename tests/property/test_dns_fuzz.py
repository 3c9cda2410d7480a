"""Garbage instead of DNS: it is parsed, or it is a RemoteProtocolError, and nothing else."""

import struct
from ipaddress import IPv4Network

from dnslib import CNAME, QTYPE, RR, SOA, SRV, TXT, A, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.dns.messages import (
    FORMERR,
    build_error,
    build_question,
    build_rejection,
    fit_answer,
    parse_answer,
    parse_query,
)
from ktnet.dns.names import build_wire_name, fold_case, read_wire_name, skip_wire_name
from ktnet.dns.policy import Zone, build_policy, parse_reverse_name
from ktnet.dns.rewrite import build_restored_answer
from ktnet.errors import RemoteProtocolError
from ktnet.wire.service import Service

SERVICE = Service(headless=True, addresses=())
FULL = (b"tomcat", b"demo", b"svc", b"cluster", b"local")
ASKED = parse_query(bytes(DNSRecord.question("Tomcat.demo").pack()))
FULL_QUERY = build_question(ASKED, FULL)


def sample_answer() -> bytes:
    reply = DNSRecord.parse(FULL_QUERY.wire).reply()
    name = "tomcat.demo.svc.cluster.local"
    reply.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME("x.demo.svc.cluster.local")))
    reply.add_answer(RR("x.demo.svc.cluster.local", QTYPE.SRV, rdata=SRV(0, 1, 80, name)))
    reply.add_answer(RR(name, QTYPE.A, rdata=A("10.96.0.7")))
    reply.add_auth(RR("cluster.local", QTYPE.SOA, rdata=SOA("ns.cluster.local", "h.cluster.local")))
    reply.add_ar(RR(name, QTYPE.TXT, rdata=TXT("text")))
    return bytes(reply.pack())


SAMPLE = sample_answer()

labels = st.binary(min_size=1, max_size=63)
names = st.lists(labels, max_size=4).map(tuple)


@st.composite
def damaged(draw: st.DrawFn, sample: bytes, intact: int) -> bytes:
    """A message with some octets replaced behind the first `intact`, perhaps cut or lengthened."""
    message = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(intact, len(message) - 1))
        octet = draw(
            st.sampled_from([0, 1, 12, 0x3F, 0x40, 0x80, 0xC0, 0xFF]) | st.integers(0, 255)
        )
        message[position] = octet
    end = draw(st.integers(intact, len(message)))
    return bytes(message[:end]) + draw(st.binary(max_size=8))


def check_query(wire: bytes) -> None:
    rejection = build_rejection(wire)
    assert rejection is None or len(rejection) == 12 <= len(wire)
    try:
        query = parse_query(wire)
    except RemoteProtocolError:
        return
    assert query.wire[:2] == query.id.to_bytes(2, "big")
    if query.qclass == 1:
        build_policy("cluster.local", [], lambda *_: SERVICE).decide(query.name)
    error = build_error(query, FORMERR)
    assert len(error) <= max(len(wire), query.question_end + 11)


def check_answer(wire: bytes) -> None:
    try:
        answer = parse_answer(wire, FULL_QUERY)
    except RemoteProtocolError:
        return
    assert answer.wire == wire[: len(answer.wire)]
    for size in (512, 100):
        fitted = fit_answer(answer, size)
        assert len(fitted) <= max(size, answer.question_end)
        parse_answer(fitted, FULL_QUERY)
    try:
        restored = build_restored_answer(answer, ASKED, FULL)
    except RemoteProtocolError:
        return
    assert parse_answer(restored, ASKED).wire == restored


@given(st.binary(max_size=300) | damaged(ASKED.wire, 0) | damaged(FULL_QUERY.wire, 4))
@settings(max_examples=400)
def test_queries(wire: bytes) -> None:
    check_query(wire)


@given(st.binary(max_size=300) | damaged(SAMPLE, 0) | damaged(SAMPLE, FULL_QUERY.question_end))
@settings(max_examples=500)
def test_answers(wire: bytes) -> None:
    check_answer(wire)
    check_answer(SAMPLE[: FULL_QUERY.question_end] + wire)


def test_each_prefix() -> None:
    for end in range(len(SAMPLE) + 1):
        check_query(SAMPLE[:end])
        check_answer(SAMPLE[:end])
    for end in range(len(FULL_QUERY.wire) + 1):
        check_query(FULL_QUERY.wire[:end])


def test_each_octet_replaced() -> None:
    for position in range(len(SAMPLE)):
        for octet in (0, 0x0C, 0x3F, 0xC0, 0xFF):
            check_answer(SAMPLE[:position] + bytes((octet,)) + SAMPLE[position + 1 :])


@given(st.binary(max_size=600), st.integers(0, 700))
def test_names_in_garbage(data: bytes, offset: int) -> None:
    for read in (read_wire_name, skip_wire_name):
        try:
            read(data, offset)
        except RemoteProtocolError:
            continue


@given(names)
def test_names_survive_the_wire(name: tuple[bytes, ...]) -> None:
    message = bytes(12) + build_wire_name(name) + b"behind"
    if len(message) - 18 > 255:
        return
    assert read_wire_name(message, 12) == (name, len(message) - 6)
    assert skip_wire_name(message, 12) == len(message) - 6


def test_long_chains_of_pointers_are_quick() -> None:
    """Each name points to the one before it: reading all of them must not take for ever."""
    message = bytearray(bytes(12) + b"\0")
    previous = 12
    while len(message) < 0x3FFE:
        here = len(message)
        message += struct.pack("!H", 0xC000 | previous)
        previous = here
    assert read_wire_name(bytes(message), previous) == ((), previous + 2)


networks = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)


@given(st.lists(networks, max_size=4), st.lists(st.integers(0, 255), min_size=1, max_size=4))
def test_reverse_name_is_the_clusters_only_if_all_its_addresses_are(
    captured: list[IPv4Network], octets: list[int]
) -> None:
    name = (*(str(octet).encode() for octet in reversed(octets)), b"in-addr", b"arpa")
    network = parse_reverse_name(name)
    assert network is not None
    zone = build_policy("cluster.local", captured, lambda *_: None).decide(name).zone
    size = sum(
        min(net.num_addresses, network.num_addresses)
        for net in _disjoint(captured)
        if net.overlaps(network)
    )
    assert (zone is Zone.CLUSTER) == (size == network.num_addresses)


def _disjoint(captured: list[IPv4Network]) -> list[IPv4Network]:
    """Networks are nested or disjoint: keep those that lie in no other."""
    return [
        net
        for index, net in enumerate(captured)
        if not any(
            net.subnet_of(other) and (net != other or index > place)
            for place, other in enumerate(captured)
            if place != index
        )
    ]


@given(names, st.sets(st.tuples(st.sampled_from(["a", "io"]), st.sampled_from(["foo", "b"]))))
def test_decision_depends_not_on_case_and_keeps_it(
    name: tuple[bytes, ...], services: set[tuple[str, str]]
) -> None:
    policy = build_policy(
        "cluster.local",
        [],
        lambda ns, svc: SERVICE if (ns, svc) in services else None,
        exclude=["x.io"],
    )
    for asked in (name, (b"Foo", b"IO"), (*name, b"Cluster", b"LOCAL"), (*name, b"X", b"io")):
        decision = policy.decide(asked)
        folded = policy.decide(fold_case(asked))
        assert decision.zone is folded.zone
        assert fold_case(decision.ask) == folded.ask
        assert decision.ask[: len(asked)] == asked
        if decision.ask != asked:
            assert decision.zone is Zone.CLUSTER
            assert decision.ask[-2:] == (b"cluster", b"local")
