"""What this machine's network looks like, as the kernel and the resolver's file say. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from ktnet.host.resolver_plan import ResolverFact


@dataclass(frozen=True)
class AddressFact:
    """An IPv4 address of this machine, and the network that it makes directly reachable."""

    link: str
    address: IPv4Address
    network: IPv4Network


@dataclass(frozen=True)
class RouteFact:
    """A route to `network`, one for each of its ways where it has several; `link` is "" for one
    without a device (unreachable)."""

    network: IPv4Network
    link: str
    gateway: IPv4Address | None
    table: int
    metric: int


@dataclass(frozen=True)
class RuleFact:
    """A rule that asks `table` (ip-rule(8)): `always`, or where some condition holds. With
    `suppressed`, only for routes to networks of longer prefixes than that."""

    priority: int
    table: int
    always: bool
    suppressed: int | None = None


@dataclass(frozen=True)
class HostFacts:
    """What a plan is made from. `mended`: what the helper had to undo of a session that died.
    `held`: whether another session has this network in its hands. `subnets6`: what this machine's
    IPv6 addresses make directly reachable."""

    links: tuple[str, ...]
    addresses: tuple[AddressFact, ...]
    routes: tuple[RouteFact, ...]
    resolver: ResolverFact
    mended: tuple[str, ...] = ()
    held: bool = False
    subnets6: tuple[IPv6Network, ...] = ()
    rules: tuple[RuleFact, ...] = ()
