"""The checker lets nothing past that would cut a machine off; a model counts single addresses."""

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.errors import HostNetworkError
from ktnet.host.checker import NEVER_CAPTURED, Ranges, check_link, check_routes
from ktnet.host.facts import AddressFact, HostFacts, RouteFact
from ktnet.host.resolver_plan import ResolverFact

BASE = int(IPv4Address("10.96.0.0"))
WORLD = IPv4Network("10.96.0.0/25")


@st.composite
def small_networks(draw: st.DrawFn) -> IPv4Network:
    length = draw(st.integers(25, 32))
    return IPv4Network((BASE + draw(st.integers(0, 127)), length), strict=False)


networks = st.lists(small_networks(), max_size=5, unique=True)
hosts = st.integers(0, 127).map(lambda n: IPv4Address(BASE + n))


@st.composite
def machines(draw: st.DrawFn) -> HostFacts:
    return HostFacts(
        links=("lo", "lan"),
        addresses=tuple(
            AddressFact("lan", address, IPv4Network((address, length), strict=False))
            for address, length in draw(st.lists(st.tuples(hosts, st.integers(25, 32)), max_size=2))
        ),
        routes=tuple(
            RouteFact(IPv4Network("0.0.0.0/0"), "lan", gateway, 254, 0)
            for gateway in draw(st.lists(hosts, max_size=2))
        ),
        resolver=ResolverFact(
            "file", tuple(map(str, draw(st.lists(hosts, max_size=2)))), (), False
        ),
    )


def count(found: list[IPv4Network]) -> set[IPv4Address]:
    return {address for network in found for address in network}


@given(networks, small_networks())
@settings(max_examples=200, deadline=None)
def test_ranges_count_as_sets_do(several: list[IPv4Network], one: IPv4Network) -> None:
    ranges = Ranges(several)
    assert ranges.size == len(count(several))
    assert ranges.count_within(one) == len(count(several) & set(one))
    assert bool(ranges) == bool(several)


def is_harmful(machine: HostFacts, routes: list[IPv4Network], standing: list[IPv4Network]) -> bool:
    taken, added = count(routes), count([route for route in routes if route not in standing])
    lifelines = {route.gateway for route in machine.routes}
    lifelines |= {IPv4Address(text) for text in machine.resolver.nameservers}
    own = {each.address for each in machine.addresses}
    subnets = [set(each.network) for each in machine.addresses]
    return bool(added & (lifelines | own)) or any(
        added & subnet and len(taken & subnet) * 2 > len(subnet) for subnet in subnets
    )


@given(machines(), networks, st.lists(small_networks(), max_size=2))
@settings(max_examples=300, deadline=None)
def test_exactly_what_is_harmful_is_refused(
    machine: HostFacts, routes: list[IPv4Network], standing: list[IPv4Network]
) -> None:
    try:
        check_routes(routes, machine, standing)
    except HostNetworkError:
        refused = True
    else:
        refused = False
    assert refused == is_harmful(machine, routes, standing)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_what_is_let_past_is_never_the_default_route(items: list[tuple[int, int]]) -> None:
    routes = {IPv4Network(item, strict=False) for item in items}
    nobody = HostFacts((), (), (), ResolverFact("missing", (), (), stub=False))
    try:
        check_routes(routes, nobody)
    except HostNetworkError:
        return
    assert Ranges(routes).size <= 2**31
    assert not any(route.overlaps(never) for route in routes for never in NEVER_CAPTURED)


@given(machines(), hosts)
@settings(max_examples=200, deadline=None)
def test_a_link_takes_no_used_address(machine: HostFacts, address: IPv4Address) -> None:
    used = any(address in each.network for each in machine.addresses)
    try:
        check_link("ktnet0", [address], machine)
    except HostNetworkError:
        assert used
    else:
        assert not used
