"""Which way names are to go on this machine, and which domains that takes."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from ktnet.errors import DnsError
from ktnet.host.resolver_plan import (
    MAX_DOMAINS,
    ResolvedPlan,
    ResolverFact,
    ResolverPlan,
    build_reverse_zones,
    plan_resolver,
)

OWN = IPv4Address("198.19.0.1")
SEARCH = ("demo.svc.cluster.local", "cluster.local")
ROUTING = ("svc", "demo", "cluster.local")
FILE = ResolverPlan(OWN, (*SEARCH, "office.example"))
LINK = ResolvedPlan(OWN, SEARCH, ("svc", "demo"))


def fact(*, stub: bool, resolved: bool) -> ResolverFact:
    return ResolverFact("symlink", ("10.0.0.1",), ("office.example",), stub=stub, resolved=resolved)


@pytest.mark.parametrize(
    ("mode", "stub", "resolved", "expected"),
    [
        ("auto", True, True, LINK),
        ("auto", True, False, FILE),  # no bus to tell it on, as in a container
        ("auto", False, True, FILE),  # applications don't ask it
        ("auto", False, False, FILE),
        ("resolved", True, True, LINK),
        ("resolved", False, True, LINK),
        ("resolvconf", True, True, FILE),
        ("resolvconf", False, False, FILE),
        ("off", True, True, None),
    ],
)
def test_the_way_that_fits(mode: str, stub: bool, resolved: bool, expected: object) -> None:
    found = fact(stub=stub, resolved=resolved)
    assert plan_resolver(found, OWN, SEARCH, ROUTING, mode=mode) == expected


def test_resolved_where_it_is_not_is_an_error() -> None:
    with pytest.raises(DnsError, match="doesn't answer") as raised:
        plan_resolver(fact(stub=True, resolved=False), OWN, SEARCH, ROUTING, mode="resolved")
    assert "--dns-mode resolvconf" in raised.value.hint


def test_more_domains_than_resolved_takes_are_left_out_from_the_end() -> None:
    names = [f"namespace{number}" for number in range(400)]
    plan = plan_resolver(fact(stub=True, resolved=True), OWN, SEARCH, names, mode="auto")
    assert isinstance(plan, ResolvedPlan)
    assert plan.search == SEARCH
    assert plan.routing == tuple(names[: MAX_DOMAINS - len(SEARCH)])


@pytest.mark.parametrize(
    ("networks", "zones"),
    [
        (["10.96.0.0/16"], ["96.10"]),
        (["10.0.0.0/8"], ["10"]),
        (["10.96.0.0/12"], [f"{octet}.10" for octet in range(96, 112)]),
        (["10.64.0.0/10"], ["10"]),  # 64 zones, or the one around them
        (["10.96.0.0/17", "10.96.128.0/18"], ["96.10"]),
        (["10.244.3.128/25", "10.244.3.7/32"], ["3.244.10"]),
        (["10.96.0.0/16", "10.96.7.0/24"], ["96.10"]),
        (["192.168.0.0/22"], [f"{octet}.168.192" for octet in range(4)]),
        ([], []),
    ],
)
def test_reverse_zones_are_cut_at_octets(networks: list[str], zones: list[str]) -> None:
    found = build_reverse_zones(map(IPv4Network, networks))
    assert found == tuple(f"{zone}.in-addr.arpa" for zone in zones)
