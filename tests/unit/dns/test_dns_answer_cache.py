"""Answers that are given again: for how long, and how many."""

from dnslib import CNAME, EDNS0, QTYPE, RR, SOA, SRV, A, DNSRecord

from ktnet.dns.cache import Cache
from ktnet.dns.lifetime import build_aged, build_capped, parse_lifetime_s
from ktnet.dns.messages import Answer, parse_own_answer

NAME = "tomcat.demo.svc.cluster.local"


def build(*records: RR, rcode: int = 0, authority: tuple = (), additional: tuple = ()) -> Answer:
    reply = DNSRecord.question(NAME).reply()
    reply.header.rcode = rcode
    reply.add_answer(*records)
    reply.add_auth(*authority)
    reply.add_ar(*additional)
    return parse_own_answer(bytes(reply.pack()))


def address(ttl_s: int) -> RR:
    return RR(NAME, QTYPE.A, ttl=ttl_s, rdata=A("10.96.0.7"))


def soa(ttl_s: int, minimum_s: int) -> RR:
    times = (1, 7200, 1800, 86400, minimum_s)
    return RR("cluster.local", QTYPE.SOA, ttl=ttl_s, rdata=SOA("ns.dns", "h", times))


def test_lifetime_is_the_least_ttl() -> None:
    assert parse_lifetime_s(build(address(30)), QTYPE.A) == 30
    assert parse_lifetime_s(build(address(30), address(7)), QTYPE.A) == 7
    assert parse_lifetime_s(build(address(30), additional=(address(5),)), QTYPE.A) == 5
    alias = RR(NAME, QTYPE.CNAME, ttl=9, rdata=CNAME("x.example"))
    assert parse_lifetime_s(build(alias, address(30)), QTYPE.A) == 9
    assert parse_lifetime_s(build(alias), QTYPE.CNAME) == 9
    assert parse_lifetime_s(build(address(0)), QTYPE.A) == 0


def test_ttl_with_its_highest_bit_counts_as_nothing() -> None:
    assert parse_lifetime_s(build(address(2**31 - 1)), QTYPE.A) == 2**31 - 1
    assert parse_lifetime_s(build(address(2**31)), QTYPE.A) == 0
    assert parse_lifetime_s(build(rcode=3, authority=(soa(30, 2**31),)), QTYPE.A) == 0


def test_denials_live_as_long_as_the_soa_record_says() -> None:
    for rcode in (0, 3):
        for ttl_s, minimum_s, expected_s in ((30, 300, 30), (300, 30, 30), (5, 5, 5), (0, 30, 0)):
            answer = build(rcode=rcode, authority=(soa(ttl_s, minimum_s),))
            assert parse_lifetime_s(answer, QTYPE.A) == expected_s
    alias = RR(NAME, QTYPE.CNAME, ttl=9, rdata=CNAME("x.example"))
    assert parse_lifetime_s(build(alias, rcode=3, authority=(soa(30, 30),)), QTYPE.A) == 9


def test_denials_without_a_soa_record_are_not_kept() -> None:
    alias = RR(NAME, QTYPE.CNAME, ttl=9, rdata=CNAME("x.example"))
    for answer in (build(), build(rcode=3), build(alias), build(address(30), rcode=3)):
        assert parse_lifetime_s(answer, QTYPE.A) == 0
    assert parse_lifetime_s(build(address(30)), QTYPE.AAAA) == 0


def test_failures_and_cut_off_answers_are_not_kept() -> None:
    for rcode in (1, 2, 4, 5, 9):
        assert parse_lifetime_s(build(address(30), rcode=rcode), QTYPE.A) == 0
    truncated = build(address(30))
    wire = truncated.wire[:2] + bytes((truncated.wire[2] | 2,)) + truncated.wire[3:]
    assert parse_lifetime_s(parse_own_answer(wire), QTYPE.A) == 0
    bad_version = build(address(30), additional=(EDNS0(ext_rcode=1),))
    assert parse_lifetime_s(bad_version, QTYPE.A) == 0
    assert parse_lifetime_s(build(address(30), additional=(EDNS0(),)), QTYPE.A) == 30


def test_ttls_count_down_in_every_section_but_in_opt() -> None:
    service = RR(NAME, QTYPE.SRV, ttl=20, rdata=SRV(0, 1, 80, NAME))
    edns = EDNS0(flags="do", udp_len=1232)
    answer = build(service, authority=(soa(30, 30),), additional=(address(7), edns))
    aged = DNSRecord.parse(build_aged(answer, 6))
    before = DNSRecord.parse(answer.wire)
    assert [each.ttl for each in (*aged.rr, *aged.auth, aged.ar[0])] == [14, 24, 1]
    assert aged.ar[1].ttl == before.ar[1].ttl == 0x8000
    assert aged.auth[0].rdata == before.auth[0].rdata
    assert DNSRecord.parse(build_aged(answer, 25)).rr[0].ttl == 0
    assert build_aged(answer, 0) is answer.wire


def test_answer_is_given_until_it_expires() -> None:
    cache = Cache()
    cache.put("key", build(address(30)), 100.0, 30)
    for now_s, ttl_s in ((100.0, 30), (100.99, 30), (101.0, 29), (129.9, 1)):
        answer = cache.get("key", now_s)
        assert answer is not None
        assert DNSRecord.parse(answer.wire).rr[0].ttl == ttl_s
        assert answer.records == build(address(30)).records
    assert cache.get("key", 130.0) is None
    assert (len(cache), cache.size_bytes) == (0, 0)
    assert cache.get("other", 100.0) is None


def test_a_newer_answer_replaces_the_older() -> None:
    cache = Cache()
    cache.put("key", build(address(30)), 0.0, 30)
    cache.put("key", build(address(60)), 10.0, 60)
    assert cache.get("key", 40.0) is not None
    cache.put("key", build(address(0)), 41.0, 0)
    assert cache.get("key", 41.0) is None
    assert cache.size_bytes == 0


def test_the_one_used_longest_ago_makes_room() -> None:
    cache = Cache(most_entries=3)
    for key in "abc":
        cache.put(key, build(address(30)), 0.0, 30)
    cache.get("a", 1.0)
    cache.put("d", build(address(30)), 1.0, 30)
    assert [key for key in "abcd" if cache.get(key, 1.0)] == ["a", "c", "d"]


def test_large_answers_make_room_too() -> None:
    cache = Cache(most_bytes=100_000)
    large = build(*(address(30) for _ in range(200)))
    for key in range(20):
        cache.put(key, large, 0.0, 30)
        assert cache.size_bytes <= 100_000
    assert 1 <= len(cache) < 20
    assert cache.get(19, 0.0) is not None
    cache.clear()
    assert (len(cache), cache.size_bytes, cache.get(19, 0.0)) == (0, 0, None)


def test_ttls_are_capped_and_those_of_denials_to_nothing() -> None:
    def ttls(answer: Answer) -> list[int]:
        message = DNSRecord.parse(build_capped(answer, 5))
        return [each.ttl for each in (*message.rr, *message.auth) if each.rtype != QTYPE.OPT]

    assert ttls(build(address(30), address(3))) == [5, 3]
    for rcode in (0, 3):
        assert ttls(build(rcode=rcode, authority=(soa(30, 30),))) == [0]
    opt = EDNS0(udp_len=1232, flags="do")
    capped = DNSRecord.parse(build_capped(build(address(30), additional=(opt,)), 5))
    assert (capped.ar[0].edns_len, capped.ar[0].edns_do) == (1232, 1)
