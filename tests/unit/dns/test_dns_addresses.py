"""Which addresses of an answer are the cluster's: those that a name of it has itself."""

from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSRecord

from ktnet.dns.addresses import list_cluster_addresses
from ktnet.dns.messages import parse_answer, parse_query
from ktnet.dns.policy import build_policy

POLICY = build_policy("cluster.local", [], lambda *_: None, include=["corp.example"])
OWN = "db.demo.svc.cluster.local"


def listed(*records: RR, rcode: int = 0, additional: tuple[RR, ...] = ()) -> list[str]:
    query = DNSRecord.question(OWN)
    reply = query.reply()
    reply.header.rcode = rcode
    reply.add_answer(*records)
    reply.add_ar(*additional)
    answer = parse_answer(bytes(reply.pack()), parse_query(bytes(query.pack())))
    return [str(each) for each in list_cluster_addresses(answer, POLICY)]


def record(name: str, address: str) -> RR:
    return RR(name, QTYPE.A, ttl=5, rdata=A(address))


def test_addresses_of_a_name_of_the_cluster() -> None:
    assert listed(record(OWN, "10.9.0.1"), record(OWN.upper(), "10.9.0.2")) == [
        "10.9.0.1",
        "10.9.0.2",
    ]
    assert listed(record("a.corp.example", "10.9.0.3")) == ["10.9.0.3"]


def test_an_alias_out_of_the_cluster_is_left_alone() -> None:
    alias = RR(OWN, QTYPE.CNAME, ttl=5, rdata=CNAME("db.vendor.example"))
    assert listed(alias, record("db.vendor.example", "10.9.0.1")) == []


def test_what_is_no_address_in_the_answer() -> None:
    assert listed(RR(OWN, QTYPE.AAAA, ttl=5, rdata=AAAA("fd00::1"))) == []
    assert listed(additional=(record(OWN, "10.9.0.1"),)) == []
    assert listed(record(OWN, "10.9.0.1"), rcode=RCODE.NXDOMAIN) == []
    assert listed() == []
