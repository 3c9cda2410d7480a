"""Plans capture exactly what they should, whatever the networks; a model counts addresses."""

from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.errors import HostNetworkError
from ktnet.host.checker import TUN_RANGE, check_link, check_routes
from ktnet.host.facts import AddressFact, HostFacts, RouteFact
from ktnet.host.plan import plan_host, subtract
from ktnet.host.requests import CaptureRequest, OpenRequest, build_request, parse_request
from ktnet.host.resolver_plan import ResolverFact

BASE = int(IPv4Address("10.96.0.0"))


@st.composite
def small_networks(draw: st.DrawFn) -> IPv4Network:
    """A network inside 10.96.0.0/24, so that its addresses can be counted."""
    length = draw(st.integers(24, 32))
    return IPv4Network((BASE + draw(st.integers(0, 255)), length), strict=False)


@st.composite
def any_networks(draw: st.DrawFn) -> IPv4Network:
    return IPv4Network((draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 32))), strict=False)


def addresses(networks: list[IPv4Network] | tuple[IPv4Network, ...]) -> set[int]:
    return {int(address) for network in networks for address in network}


small_lists = st.lists(small_networks(), max_size=8)
any_lists = st.lists(any_networks(), max_size=6)


@given(small_lists, small_lists)
@settings(max_examples=150, deadline=None)
def test_subtract_leaves_exactly_the_rest(
    networks: list[IPv4Network], holes: list[IPv4Network]
) -> None:
    left = subtract(networks, holes)
    assert addresses(left) == addresses(networks) - addresses(holes)
    assert sum(n.num_addresses for n in left) == len(addresses(left))  # none twice


@given(any_lists, any_lists)
@settings(max_examples=150, deadline=None)
def test_subtract_of_networks_of_any_size(
    networks: list[IPv4Network], holes: list[IPv4Network]
) -> None:
    left = subtract(networks, holes)
    assert not any(n.overlaps(h) for n in left for h in holes)
    # Neighbours may have become one.
    assert all(any(n.subnet_of(w) for w in collapse_addresses(networks)) for n in left)
    # What was lost lies in a hole: the first and last address of each piece's neighbourhood.
    for network in networks:
        for edge in (network.network_address, network.broadcast_address):
            inside = any(edge in n for n in left)
            assert inside == (not any(edge in h for h in holes))


@given(
    captured=any_lists,
    included=any_lists,
    excluded=any_lists,
    subnets=st.lists(any_networks().filter(lambda n: n.prefixlen >= 8), max_size=3),
    routes=any_lists,
)
@settings(max_examples=150, deadline=None)
def test_plans_keep_what_must_stay_and_pass_the_helper(
    captured: list[IPv4Network],
    included: list[IPv4Network],
    excluded: list[IPv4Network],
    subnets: list[IPv4Network],
    routes: list[IPv4Network],
) -> None:
    facts = HostFacts(
        links=("lo", "eth0"),
        addresses=tuple(AddressFact("eth0", n.network_address, n) for n in subnets),
        routes=tuple(RouteFact(n, "eth0", None, 254, 0) for n in routes),
        resolver=ResolverFact("file", ("192.0.2.53",), (), stub=False),
    )
    try:
        plan = plan_host(facts, captured, excluded, ("a.example",), included=included)
    except HostNetworkError:
        return
    wanted = [*captured, *included]
    assert all(any(r.overlaps(w) for w in wanted) for r in plan.routes)
    for kept in (*excluded, IPv4Network("127.0.0.0/8"), IPv4Network("192.0.2.53")):
        assert not any(r.overlaps(kept) for r in plan.routes)
    for subnet in subnets:
        assert not any(subnet.subnet_of(r) for r in plan.routes)
    for address in (plan.link.address, plan.link.peer):
        assert address in TUN_RANGE
        assert not any(address in n for n in subnets)
        assert not any(address in n for n in routes if n.prefixlen > 7)
        assert not any(address in r for r in plan.routes if r.prefixlen > 7)
    check_routes(plan.routes, facts)
    check_link(plan.link.name, (plan.link.address, plan.link.peer), facts)
    open_request = OpenRequest(plan.link)
    capture_request = CaptureRequest(plan.routes, plan.resolver)
    assert parse_request(build_request(1, open_request)) == (1, open_request)
    assert parse_request(build_request(2, capture_request)) == (2, capture_request)
