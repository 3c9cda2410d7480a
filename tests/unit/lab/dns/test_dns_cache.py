"""The cluster DNS's memory: what was recorded of CoreDNS."""

from dnslib import QTYPE, RCODE, RR, SOA, A

from ktnet.lab.dns.cache import MOST_ENTRIES, Cache
from ktnet.lab.dns.zone import Answer

KEY = ("web.demo.svc.cluster.local", QTYPE.A, False)


def found(address: str = "10.96.0.7") -> Answer:
    return Answer([RR("web.demo.svc.cluster.local", QTYPE.A, ttl=30, rdata=A(address))])


def denied() -> Answer:
    soa = RR("cluster.local", QTYPE.SOA, ttl=30, rdata=SOA("ns", "h", (1, 2, 3, 4, 30)))
    return Answer(authority=[soa], rcode=RCODE.NXDOMAIN)


def test_ttl_counts_down_and_the_answer_stays_for_30_s() -> None:
    cache = Cache()
    assert cache.answer(KEY, 100.0, found).records[0].ttl == 30
    for now_s, ttl_s in ((100.9, 30), (106.5, 24), (129.9, 1)):
        answer = cache.answer(KEY, now_s, denied)
        assert [(each.ttl, str(each.rdata)) for each in answer.records] == [(ttl_s, "10.96.0.7")]
    assert cache.answer(KEY, 130.0, denied).rcode == RCODE.NXDOMAIN


def test_what_was_denied_stays_denied() -> None:
    cache = Cache()
    cache.answer(KEY, 0.0, denied)
    again = cache.answer(KEY, 7.0, found)
    assert (again.rcode, again.authority[0].ttl, again.records) == (RCODE.NXDOMAIN, 23, [])
    assert cache.answer(KEY, 30.0, found).rcode == RCODE.NOERROR


def test_queries_with_the_do_bit_types_and_names_are_kept_apart() -> None:
    cache = Cache()
    cache.answer(KEY, 0.0, denied)
    name, kind, _ = KEY
    for other in ((name, kind, True), (name, QTYPE.AAAA, False), ("x", kind, False)):
        assert cache.answer(other, 1.0, found).rcode == RCODE.NOERROR


def test_failures_are_not_kept() -> None:
    cache = Cache()
    cache.answer(KEY, 0.0, lambda: Answer(rcode=RCODE.SERVFAIL))
    assert cache.answer(KEY, 0.1, found).rcode == RCODE.NOERROR


def test_callers_may_shuffle_what_they_got() -> None:
    cache = Cache()
    cache.answer(KEY, 0.0, found).records = []
    assert len(cache.answer(KEY, 0.1, denied).records) == 1


def test_it_does_not_grow_for_ever() -> None:
    cache = Cache()
    for number in range(MOST_ENTRIES + 1):
        cache.answer((f"n{number}", QTYPE.A, False), 0.0, denied)
    assert cache.answer(("n1", QTYPE.A, False), 1.0, found).rcode == RCODE.NXDOMAIN
    assert cache.answer(("n0", QTYPE.A, False), 1.0, found).rcode == RCODE.NOERROR
