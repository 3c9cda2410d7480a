"""Whatever comes in a datagram, a DNS server of the lab answers it or not; it never breaks."""

from dnslib import DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.lab.dns.message import build_response
from ktnet.lab.dns.office import resolve
from ktnet.lab.dns.zone import Zone

ZONE = Zone([], [], ["demo"], serial=1)
VALID = DNSRecord.question("tomcat.demo.svc.cluster.local").pack()


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=64),
        st.tuples(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=4)).map(
            lambda change: VALID[: change[0]] + change[1] + VALID[change[0] + 1 :]
        ),
    ),
    st.booleans(),
)
def test_garbage_gets_an_answer_or_none(query: bytes, udp: bool) -> None:
    for resolver in (ZONE.answer, resolve):
        answer = build_response(
            query, lambda name, kind, _, known=resolver: known(name, kind), udp=udp, recursive=False
        )
        if answer is not None:
            assert answer[:2] == query[:2]
            DNSRecord.parse(answer)
