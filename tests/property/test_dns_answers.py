"""What holds of every name and every answer: whose it is, and for how long it is given again."""

import struct

from dnslib import QTYPE, RR, SOA, A, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.dns.cache import Cache
from ktnet.dns.edns import build_opt, build_shared_opt, parse_option_codes
from ktnet.dns.lifetime import build_aged, parse_lifetime_s
from ktnet.dns.messages import (
    Answer,
    build_addressed,
    build_question,
    parse_answer,
    parse_own_answer,
    parse_query,
)
from ktnet.dns.names import fold_case, is_under
from ktnet.dns.newborn import build_known_addresses
from ktnet.dns.policy import Zone, build_policy
from ktnet.dns.text import format_records
from ktnet.errors import RemoteProtocolError
from ktnet.wire.service import Service

DOMAIN = (b"cluster", b"local")
labels = st.sampled_from(
    b"tomcat demo DEMO io db db-0 svc SVC _http _tcp cluster local corp example x a.b \xff".split()
)
names = st.lists(labels, max_size=7).map(tuple)
services = st.dictionaries(
    st.tuples(st.sampled_from(["demo", "io", "svc"]), st.sampled_from(["tomcat", "db", "x"])),
    st.builds(Service, headless=st.booleans(), addresses=st.just(())),
)
suffixes = st.lists(
    st.sampled_from(["corp.example", "io", "demo", "svc.cluster.local", "x"]), max_size=2
)


@given(names, services, suffixes, suffixes)
@settings(max_examples=500)
def test_whose_a_name_is(
    name: tuple[bytes, ...],
    known: dict[tuple[str, str], Service],
    include: list[str],
    exclude: list[str],
) -> None:
    policy = build_policy(
        "cluster.local",
        [],
        lambda *key: known.get(key),
        include=include,
        exclude=exclude,
        search=["corp.example"],
    )
    decision = policy.decide(name)
    folded = fold_case(name)

    def lies_under(texts: list[str]) -> bool:
        return any(is_under(folded, tuple(text.encode().split(b"."))) for text in texts)

    if lies_under(exclude):
        assert decision.zone is Zone.OUTSIDE
    elif is_under(folded, DOMAIN):
        assert decision.zone is Zone.CLUSTER
    elif decision.zone is Zone.CLUSTER and not lies_under(include):
        # A short name, and then some of it is a Service that exists.
        assert decision.ask[: len(name)] == name
        assert is_under(fold_case(decision.ask), (b"svc", *DOMAIN))
        owner = fold_case(decision.ask)[: -len(DOMAIN) - 1][-2:]
        assert (owner[1].decode(), owner[0].decode()) in known
    if decision.zone is not Zone.CLUSTER:
        assert decision.ask == name
        assert decision.service is None
    if decision.service is not None:
        assert decision.service in known.values()


ttls = st.integers(0, 100) | st.integers(0, 2**32 - 1)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    # Given an id, since dnslib would draw one itself.
    reply = DNSRecord(DNSHeader(id=1, qr=1, rd=1), q=DNSQuestion("Tomcat.demo"))
    for ttl_s in draw(st.lists(ttls, max_size=4)):
        reply.add_answer(RR("tomcat.demo", QTYPE.A, ttl=ttl_s, rdata=A("10.96.0.7")))
    for ttl_s in draw(st.lists(ttls, max_size=1)):
        times = (1, 2, 3, 4, draw(ttls))
        reply.add_auth(RR("demo", QTYPE.SOA, ttl=ttl_s, rdata=SOA("ns", "h", times)))
    reply.header.rcode = draw(st.sampled_from([0, 0, 2, 3]))
    return parse_own_answer(bytes(reply.pack()))


def ttls_of(wire: bytes) -> list[int]:
    parsed = DNSRecord.parse(wire)
    return [each.ttl for each in (*parsed.rr, *parsed.auth)]


@given(answers(), st.integers(0, 200))
def test_an_answer_is_never_given_beyond_its_ttls(answer: Answer, age_s: int) -> None:
    lifetime_s = parse_lifetime_s(answer, QTYPE.A)
    before = ttls_of(answer.wire)
    if lifetime_s:
        assert answer.rcode in {0, 3}
        assert lifetime_s <= min(before)
    aged = build_aged(answer, age_s)
    assert len(aged) == len(answer.wire)
    if age_s < lifetime_s:
        assert ttls_of(aged) == [ttl_s - age_s for ttl_s in before]
        assert min(ttls_of(aged)) > 0


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 5), st.booleans()),
        max_size=60,
    )
)
def test_the_memory_keeps_what_is_alive_and_no_more_than_it_may(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    """Against a plain table of when what expires: what is given is alive, and the newest."""
    cache = Cache(most_entries=4)
    model: dict[int, tuple[int, float]] = {}
    now_s = 0.0
    for key, lifetime_s, passing_s, is_put in steps:
        now_s += passing_s
        if is_put:
            cache.put(key, build_numbered(len(model)), now_s, lifetime_s)
            model[key] = (len(model), now_s + lifetime_s)
        else:
            found = cache.get(key, now_s)
            if found is not None:
                number, expires_s = model[key]
                assert now_s < expires_s
                assert struct.unpack_from("!H", found.wire)[0] == number
        assert len(cache) <= 4
        assert (cache.size_bytes == 0) == (len(cache) == 0)


def build_numbered(number: int) -> Answer:
    reply = DNSRecord.question("x").reply()
    reply.header.id = number
    reply.add_answer(RR("x", QTYPE.A, ttl=1000, rdata=A("10.0.0.1")))
    return parse_own_answer(bytes(reply.pack()))


@given(st.binary(max_size=40))
def test_options_are_read_or_refused(options: bytes) -> None:
    opt = build_opt(1232)[:-2] + len(options).to_bytes(2, "big") + options
    shared = build_shared_opt(opt)
    try:
        codes = parse_option_codes(opt)
    except RemoteProtocolError:
        assert shared is None
    else:
        assert (shared is None) == (not set(codes) <= {10, 12})
        assert shared in (None, build_opt(1232))


cases = st.lists(st.booleans(), min_size=11, max_size=11)


@given(cases, cases, st.integers(0, 0xFFFF))
def test_an_answer_for_one_is_an_answer_for_another(
    first: list[bool], second: list[bool], id_: int
) -> None:
    """In the case and under the id of who asks, wherever the names in it point."""

    def build(case: list[bool], number: int) -> bytes:
        mixed = "".join(c.upper() if up else c for c, up in zip("tomcat.demo", case, strict=True))
        query = DNSRecord.question(mixed)
        query.header.id = number
        return bytes(query.pack())

    asked, other = parse_query(build(first, 7)), parse_query(build(second, id_))
    reply = DNSRecord.parse(asked.wire).reply()
    reply.add_answer(RR(reply.q.qname, QTYPE.A, ttl=30, rdata=A("10.96.0.7")))
    answer = parse_answer(bytes(reply.pack()), asked)
    wire = build_addressed(answer, other)
    assert wire[:2] == other.wire[:2]
    assert wire[12 : other.question_end] == other.wire[12 : other.question_end]
    assert parse_answer(wire, other).records == answer.records
    known = build_known_addresses(build_question(other, other.name), [])
    assert known is not None
    assert parse_answer(known, other).records == ()


@given(st.binary(max_size=200))
def test_text_of_garbage(data: bytes) -> None:
    """For people: whatever a server sent, it is shown without moving anybody's cursor."""
    head = b"\0\0\x80\0\0\1\0\2\0\0\0\0\1x\0\0\1\0\1\xc0\x0c"
    for rtype in (1, 2, 6, 16, 28, 33, 43, 46, 65, 257, 65280):
        record = rtype.to_bytes(2, "big") + b"\0\1" + bytes(4)
        wire = head + record + len(data).to_bytes(2, "big") + data + b"\xc0\x0c" + record + b"\0\0"
        for text in format_records(parse_own_answer(wire)):
            assert (text.name + text.data).isprintable()
