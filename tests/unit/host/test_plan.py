"""What is captured, what is left out, and what the user is told about it."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from ktnet.errors import HostNetworkError, UsageError
from ktnet.host.facts import AddressFact, HostFacts, RouteFact
from ktnet.host.plan import HostPlan, plan_host, subtract
from ktnet.host.resolver_plan import ResolverFact, merge_search

SERVICES = IPv4Network("10.96.0.0/16")
PODS = IPv4Network("10.244.0.0/16")


def net(text: str) -> IPv4Network:
    return IPv4Network(text)


def facts(
    *routes: RouteFact, nameservers: tuple[str, ...] = ("192.168.64.53",), lan: str = "192.168.64.0"
) -> HostFacts:
    """A laptop at .10 of a LAN (a /24 unless said otherwise), its gateway at .1."""
    network = net(lan if "/" in lan else f"{lan}/24")
    own = network.network_address + 10
    return HostFacts(
        links=("lo", "eth0"),
        addresses=(
            AddressFact("lo", IPv4Address("127.0.0.1"), net("127.0.0.0/8")),
            AddressFact("eth0", own, network),
        ),
        routes=(
            RouteFact(net("0.0.0.0/0"), "eth0", network.network_address + 1, 254, 100),
            RouteFact(network, "eth0", None, 254, 100),
            *routes,
        ),
        resolver=ResolverFact("file", nameservers, ("office.example",), stub=False),
    )


def via_vpn(network: str, table: int = 254) -> RouteFact:
    return RouteFact(net(network), "wg0", None, table, 0)


def captures(plan: HostPlan, address: str) -> bool:
    return any(IPv4Address(address) in network for network in plan.routes)


def test_a_plain_machine_captures_the_ranges_as_they_are() -> None:
    plan = plan_host(facts(), [SERVICES, PODS], search=["demo.svc.cluster.local"])
    assert plan.routes == (SERVICES, PODS)
    assert plan.warnings == ()
    assert plan.link.name == "ktnet0"
    assert (str(plan.link.address), str(plan.link.peer)) == ("198.19.0.1", "198.19.0.2")
    assert plan.resolver is not None
    assert plan.resolver.nameserver == plan.link.address
    assert plan.resolver.search == ("demo.svc.cluster.local", "office.example")


def test_what_the_tunnel_itself_needs_is_left_out() -> None:
    with_dns_inside = facts(nameservers=("10.96.0.10", "fe80::1%eth0"))
    plan = plan_host(with_dns_inside, [SERVICES], [IPv4Address("10.96.0.1"), net("10.96.128.0/17")])
    assert captures(plan, "10.96.0.2")
    for kept_outside in ("10.96.0.1", "10.96.0.10", "10.96.200.1"):
        assert not captures(plan, kept_outside)


def test_a_gateway_inside_a_range_is_left_out() -> None:
    far = RouteFact(net("172.30.0.0/16"), "eth0", IPv4Address("10.96.7.7"), 254, 0)
    assert not captures(plan_host(facts(far), [SERVICES]), "10.96.7.7")


def test_a_subnet_of_this_machine_inside_a_range_is_left_out() -> None:
    plan = plan_host(facts(lan="10.244.3.0"), [PODS])
    assert captures(plan, "10.244.2.255")
    assert not captures(plan, "10.244.3.77")


def test_a_range_inside_a_subnet_of_this_machine_is_left_out_and_said() -> None:
    plan = plan_host(facts(lan="10.0.0.0/9"), [SERVICES, net("10.200.0.0/16")])
    assert plan.routes == (net("10.200.0.0/16"),)
    assert "10.96.0.0/16 is not captured: it lies in 10.0.0.0/9" in plan.warnings[0]


def test_such_a_range_is_captured_where_the_user_includes_it() -> None:
    plan = plan_host(facts(lan="10.0.0.0/9"), [SERVICES], included=[net("10.96.0.0/16")])
    assert plan.routes == (net("10.96.0.0/16"),)
    assert any("wider route to 10.0.0.0/9 by eth0" in text for text in plan.warnings)


def test_an_inclusion_never_takes_the_whole_lan() -> None:
    plan = plan_host(facts(), [SERVICES], included=[net("192.168.0.0/16"), net("192.168.64.0/24")])
    assert captures(plan, "192.168.65.1")
    assert not captures(plan, "192.168.64.7")


def test_exclusion_is_stronger_than_inclusion() -> None:
    plan = plan_host(facts(), [SERVICES], [net("10.50.0.0/16")], included=[net("10.50.1.0/24")])
    assert not captures(plan, "10.50.1.1")
    assert "10.50.1.0/24 is not captured: all of it is excluded" in plan.warnings


@pytest.mark.parametrize("wide", ["0.0.0.0/0", "0.0.0.0/1", "8.0.0.0/5"])
def test_a_found_range_that_is_too_wide_is_not_believed(wide: str) -> None:
    plan = plan_host(facts(), [SERVICES, net(wide)])
    assert plan.routes == (SERVICES,)
    assert f"gives {wide} as a range" in plan.warnings[0]


def test_everything_can_not_be_included() -> None:
    with pytest.raises(UsageError, match=r"0\.0\.0\.0/0"):
        plan_host(facts(), [SERVICES], included=[net("0.0.0.0/0")])


def test_half_of_everything_can_but_without_what_is_never_routed() -> None:
    plan = plan_host(facts(), [], included=[net("0.0.0.0/1")])
    assert captures(plan, "9.9.9.9")
    assert not captures(plan, "127.0.0.1")
    assert not captures(plan, "0.1.2.3")


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(HostNetworkError, match="nothing of the cluster's networks is left"):
        plan_host(facts(), [SERVICES], [net("10.0.0.0/8")])


def test_too_many_routes_are_an_error() -> None:
    holes = [IPv4Address("10.96.0.0") + 2 * n for n in range(600)]
    with pytest.raises(HostNetworkError, match="routes, more than"):
        plan_host(facts(), [SERVICES], holes)


def test_a_more_specific_route_stays_in_force_and_is_said() -> None:
    plan = plan_host(facts(via_vpn("10.96.5.0/24"), via_vpn("10.244.0.0/16")), [SERVICES, PODS])
    assert plan.routes == (SERVICES, PODS)
    assert [text.partition(":")[0] for text in plan.warnings] == [
        "the route to 10.96.5.0/24 by wg0 stays in force",
        "the route to 10.244.0.0/16 by wg0 stays in force",
    ]


def test_a_wider_route_is_overridden_and_said() -> None:
    plan = plan_host(facts(via_vpn("10.0.0.0/8")), [SERVICES])
    assert plan.warnings == (
        "10.96.0.0/16 is captured, though the wider route to 10.0.0.0/8 by wg0 covers it",
    )


def test_routes_that_mean_everything_else_are_no_overlap() -> None:
    plan = plan_host(facts(via_vpn("0.0.0.0/1"), via_vpn("128.0.0.0/1")), [SERVICES])
    assert plan.warnings == ()
    assert str(plan.link.address) == "198.19.0.1"


def test_the_tun_gets_an_address_and_a_name_that_are_free() -> None:
    busy = facts(via_vpn("198.19.0.0/30"), via_vpn("198.19.0.4/31", table=52))
    busy = HostFacts(("lo", "ktnet0", "ktnet1"), busy.addresses, busy.routes, busy.resolver)
    plan = plan_host(busy, [SERVICES, net("198.19.0.8/30")])
    assert plan.link.name == "ktnet2"
    assert (str(plan.link.address), str(plan.link.peer)) == ("198.19.0.13", "198.19.0.14")


def test_the_tun_goes_to_the_other_half_and_then_fails() -> None:
    half = via_vpn("198.19.0.0/16")
    assert str(plan_host(facts(half), [SERVICES]).link.address) == "198.18.0.1"
    with pytest.raises(HostNetworkError, match=r"no address in 198\.18\.0\.0/15"):
        plan_host(facts(half, via_vpn("198.18.0.0/16")), [SERVICES])


def test_the_resolver_can_be_left_alone() -> None:
    assert plan_host(facts(), [SERVICES], mode="off").resolver is None


def test_search_domains_come_once() -> None:
    assert merge_search(["Cluster.local."], ["cluster.LOCAL", "a.b", ""]) == (
        "Cluster.local",
        "a.b",
    )


def test_subtract_cuts_exactly() -> None:
    assert subtract([net("10.0.0.0/30")], [net("10.0.0.1/32")]) == (
        net("10.0.0.0/32"),
        net("10.0.0.2/31"),
    )
    assert subtract([net("10.0.0.0/30")], [net("10.0.0.0/8")]) == ()
    assert subtract([net("10.0.0.0/31"), net("10.0.0.2/31")], []) == (net("10.0.0.0/30"),)
