"""What this machine looks like, what we want of it, and how the one follows from the other. Pure.

Capture is planned from facts: never what the machine needs to reach the cluster at all, never its
own subnets, nothing that another route already has; and whatever is left out is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
)

from ktnet.errors import HostNetworkError, UsageError
from ktnet.host.checker import (
    DEFAULT_LIKE_PREFIX,
    NEVER_CAPTURED,
    TUN_RANGE,
    check_routes,
    find_lifelines,
    find_used,
)
from ktnet.host.facts import HostFacts
from ktnet.host.overlaps import explain_overlaps
from ktnet.host.resolver_plan import (
    AnyResolverPlan,
    DnsMode,
    build_reverse_zones,
    plan_resolver,
)
from ktnet.host.unreachable import plan_unreachable

HELD = "another ktnet session has this machine's network in its hands"
"""For the user, where a second one can't be."""

MTU = 65535
"""Of the TUN: the most that IPv4 can say. There is no wire whose frames had to fit. Where it is
less, the kernel makes super-packets of what a flow sends in about 1 ms (tcp_tso_autosize()), so
that many flows get small ones, and each one costs the same. Who sends by a link with a smaller MTU,
as containers do, keeps to that."""

MIN_FOUND_PREFIX = 8
"""A range wider than a /8 that was found, not asked for, is a placeholder and not a pod range:
some clouds write 0.0.0.0/0 there."""

_TUN_HALVES = (IPv4Network("198.19.0.0/16"), IPv4Network("198.18.0.0/16"))
"""In this order: local proxies take their "fake" addresses from the lower half."""


@dataclass(frozen=True)
class LinkPlan:
    """The TUN: its name, its own address, the peer's (which the probe goes to), its MTU."""

    name: str
    address: IPv4Address
    peer: IPv4Address
    mtu: int = MTU


@dataclass(frozen=True)
class HostPlan:
    """All that shall be on this machine; `warnings` are for the user, one sentence each.
    `unreachable` are networks that are told to be so at once."""

    link: LinkPlan
    routes: tuple[IPv4Network, ...]
    resolver: AnyResolverPlan | None
    warnings: tuple[str, ...] = ()
    unreachable: tuple[IPv6Network, ...] = ()


def plan_host(
    facts: HostFacts,
    captured: Iterable[IPv4Network],
    excluded: Iterable[IPv4Network | IPv4Address] = (),
    search: Sequence[str] = (),
    *,
    included: Iterable[IPv4Network] = (),
    ipv6: Iterable[IPv6Network] = (),
    excluded6: Iterable[IPv6Address] = (),
    routing: Sequence[str] = (),
    mode: DnsMode = "auto",
    mtu: int = MTU,
) -> HostPlan:
    """A plan that sends `captured` and `included` into a TUN, and nothing that must not go there.

    `captured` was found out, `included` was asked for by the user: only the latter may be wider
    than a /8, or lie within a subnet of this machine. `excluded` is never captured (the API
    server's addresses, the shadow's with a direct connection, what the user said); neither are
    this machine's own subnets, gateways and nameservers. `search` stands before the search domains
    that the machine has; `routing` are more domains whose names belong to the cluster, beside the
    reverse zones of what is captured, for resolvers that are told such. `ipv6` are networks of the
    cluster that are not carried and become unreachable, but for those with one of `excluded6`.

    Raises UsageError for an inclusion of everything, HostNetworkError where nothing is left, where
    `check_routes` refuses it, or where no address for the TUN is free.
    """
    warnings: list[str] = []
    found = _without_placeholders(captured, warnings)
    asked = tuple(included)
    for network in asked:
        if network.prefixlen == 0:
            raise UsageError(
                "0.0.0.0/0 can't be captured: the way to the cluster would be part of it",
                hint="include the networks that you mean, such as 10.0.0.0/8",
            )
    subnets = tuple(a.network for a in facts.addresses if not a.address.is_loopback)
    own = (a.address for a in facts.addresses)
    never = tuple(map(_as_network, (*NEVER_CAPTURED, *excluded, *own, *find_lifelines(facts))))
    pieces = list(subtract(found, (*never, *subnets)))
    for network in asked:
        # A part of a wide subnet may be asked for, but never the whole of a subnet.
        around = [s for s in subnets if network != s and network.subnet_of(s)]
        pieces += subtract([network], (*never, *(s for s in subnets if s not in around)))
    planned = tuple(collapse_addresses(pieces))
    warnings += _explain_losses((*found, *asked), planned, facts)
    if not planned:
        raise HostNetworkError(
            "nothing of the cluster's networks is left to capture",
            hint="see the warnings, and name networks with --include",
        )
    check_routes(planned, facts)
    warnings += explain_overlaps(planned, facts.routes, facts.rules)
    unreachable, said = plan_unreachable(facts, ipv6, excluded6)
    warnings += said
    link = plan_link(facts, (*planned, *found, *asked), mtu)
    return HostPlan(
        link=link,
        routes=planned,
        resolver=plan_resolver(
            facts.resolver,
            link.address,
            search,
            (*build_reverse_zones(planned), *routing),
            mode=mode,
        ),
        warnings=tuple(warnings),
        unreachable=unreachable,
    )


def subtract(
    networks: Iterable[IPv4Network], holes: Iterable[IPv4Network]
) -> tuple[IPv4Network, ...]:
    """The fewest networks that cover exactly the addresses of `networks` outside of all `holes`."""
    pieces = list(collapse_addresses(networks))
    # Wide holes first: what they swallow needs no cutting up.
    for hole in sorted(collapse_addresses(holes), key=lambda hole: hole.prefixlen):
        pieces = [piece for network in pieces for piece in _cut(network, hole)]
    return tuple(collapse_addresses(pieces))


def _cut(network: IPv4Network, hole: IPv4Network) -> Iterable[IPv4Network]:
    if not network.overlaps(hole):
        return (network,)
    if network.subnet_of(hole):
        return ()
    return network.address_exclude(hole)


def _without_placeholders(
    captured: Iterable[IPv4Network], warnings: list[str]
) -> tuple[IPv4Network, ...]:
    kept = []
    for network in captured:
        if network.prefixlen >= MIN_FOUND_PREFIX:
            kept.append(network)
        else:
            warnings.append(
                f"the cluster gives {network} as a range of its own, which is too wide to be true:"
                " it is not captured (name the real one with --include)"
            )
    return tuple(kept)


def _explain_losses(
    wanted: Iterable[IPv4Network], planned: Sequence[IPv4Network], facts: HostFacts
) -> Iterable[str]:
    for network in dict.fromkeys(wanted):
        if any(network.overlaps(route) for route in planned):
            continue
        around = next((a for a in facts.addresses if network.subnet_of(a.network)), None)
        if around is None:
            yield f"{network} is not captured: all of it is excluded"
        else:
            yield (
                f"{network} is not captured: it lies in {around.network}, the subnet of this"
                f" machine's {around.link}"
            )


def plan_link(facts: HostFacts, captured: Iterable[IPv4Network] = (), mtu: int = MTU) -> LinkPlan:
    """A TUN with a name and addresses that are free. Raises HostNetworkError where none are."""
    return LinkPlan(_pick_name(facts.links), *_pick_addresses(facts, captured), mtu)


def _pick_addresses(
    facts: HostFacts, captured: Iterable[IPv4Network]
) -> tuple[IPv4Address, IPv4Address]:
    """The TUN's own address and its peer's: two neighbours in a /30 that nothing here uses."""
    taken = [
        *find_used(facts),
        *(n for n in captured if n.prefixlen > DEFAULT_LIKE_PREFIX),
    ]
    for half in _TUN_HALVES:
        for block in subtract([half], taken):
            if block.prefixlen <= 30:
                return block.network_address + 1, block.network_address + 2
    raise HostNetworkError(
        f"no address in {TUN_RANGE} is free for the tunnel device",
        hint="exclude a part of it from what is captured, or free it on this machine",
    )


def _pick_name(links: Sequence[str]) -> str:
    return next(name for n in range(len(links) + 1) if (name := f"ktnet{n}") not in links)


def _as_network(item: IPv4Network | IPv4Address) -> IPv4Network:
    return item if isinstance(item, IPv4Network) else IPv4Network(item)
