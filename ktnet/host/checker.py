"""What may be changed of a machine at all, whoever asks for it. Pure.

The client holds its plan against this, and so does the helper, which has root's rights and takes
nothing on trust: against facts that it has gathered itself. So what the one plans the other does
not refuse, unless the machine has changed in between, and nothing else gets past it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from ktnet.errors import CaptureRefused, HostNetworkError
from ktnet.host.facts import HostFacts

MAX_ROUTES = 512
"""Cutting one address out of a /8 makes 24 routes; a plan beyond this is a mistake."""

DEFAULT_LIKE_PREFIX = 7
"""Routes this wide (0.0.0.0/0, and the 0.0.0.0/1 + 128.0.0.0/1 of VPNs) mean "everything else"."""

NEVER_CAPTURED = tuple(
    IPv4Network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)
"""This host, loopback, link-local, multicast, reserved: not routed (RFC 6890 section 2.2.2)."""

TUN_RANGE = IPv4Network("198.18.0.0/15")
"""Where the TUN's address and its peer come from: set aside for measuring devices (RFC 2544
appendix C.2.2), so neither the Internet nor, as a rule, a LAN, VPN or cluster uses it, as they do
all of RFC 1918 and, in carrier and overlay networks, 100.64.0.0/10; and unlike 240.0.0.0/4 and
169.254.0.0/16 it is an ordinary address to every kernel and application."""

_HALF = 2
"""At most one in so many: of all addresses, and of a subnet of this machine. More would be in the
default route's place, or in the LAN's, only in pieces."""


def check_routes(
    routes: Collection[IPv4Network],
    facts: HostFacts,
    standing: Collection[IPv4Network] = (),
) -> None:
    """Raises CaptureRefused unless `routes` leave this machine its own network.

    Those of `standing` are in force already and are not asked about again: a machine may have come
    to another LAN since. `facts` are without what is ours.
    """
    if len(routes) > MAX_ROUTES:
        raise CaptureRefused(
            f"capturing this would take {len(routes)} routes, more than {MAX_ROUTES}",
            hint="exclude fewer, wider networks",
        )
    all_of_them, known = Ranges(routes), set(standing)
    added = Ranges(network for network in routes if network not in known)
    for network in NEVER_CAPTURED:
        if added.overlap(network):
            raise _refusal(f"{network}, which is never captured")
    if added and all_of_them.size * _HALF > 2**32:
        raise _refusal("most of all addresses, in place of the default route")
    for each in facts.addresses:
        if not each.address.is_loopback and added.overlap(IPv4Network(each.address)):
            raise _refusal(f"{each.address}, this machine's own address")
    for address in find_lifelines(facts):
        if added.overlap(IPv4Network(address)):
            raise _refusal(f"{address}, a gateway or nameserver of this machine")
    for each in facts.addresses:
        subnet = each.network
        taken = all_of_them.count_within(subnet) if added.overlap(subnet) else 0
        if not each.address.is_loopback and taken * _HALF > subnet.num_addresses:
            raise _refusal(f"most of {subnet}, the subnet of this machine's {each.link}")


def check_link(name: str, own: Iterable[IPv4Address], facts: HostFacts) -> None:
    """Raises HostNetworkError unless the name and the TUN's `own` addresses are free here."""
    if name in facts.links:
        raise HostNetworkError(f"there is a link {name} already")
    for address in own:
        for network in find_used(facts):
            if address in network:
                raise HostNetworkError(f"{address} is of {network}, which this machine uses")


def find_lifelines(facts: HostFacts) -> Iterator[IPv4Address]:
    """Gateways and nameservers: without them neither the tunnel nor outside names would work."""
    for route in facts.routes:
        if route.gateway is not None:
            yield route.gateway
    for text in facts.resolver.nameservers:
        try:
            yield IPv4Address(text)
        except ValueError:
            continue  # IPv6 is not captured


def find_used(facts: HostFacts) -> Iterator[IPv4Network]:
    """What a new device's addresses must not be of: all but what a default route stands for."""
    for each in facts.addresses:
        yield each.network
        yield IPv4Network(each.address)
    for route in facts.routes:
        if route.network.prefixlen > DEFAULT_LIKE_PREFIX:
            yield route.network


class Ranges:
    """Networks as disjoint ranges of addresses, in order: 512 of them against as many facts are
    quickly told."""

    def __init__(self, networks: Iterable[IPv4Network]) -> None:
        merged = list(collapse_addresses(networks))  # in ascending order
        self._firsts = [int(network.network_address) for network in merged]
        self._lasts = [int(network.broadcast_address) for network in merged]

    @property
    def size(self) -> int:
        """Addresses in all."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def overlap(self, network: IPv4Network) -> bool:
        """Whether an address of `network` is among them."""
        return self.count_within(network) > 0

    def count_within(self, network: IPv4Network) -> int:
        """How many addresses of `network` are among them."""
        first, last = int(network.network_address), int(network.broadcast_address)
        count = 0
        at = bisect_left(self._lasts, first)
        while at < len(self._firsts) and self._firsts[at] <= last:
            count += min(last, self._lasts[at]) - max(first, self._firsts[at]) + 1
            at += 1
        return count


def _refusal(what: str) -> CaptureRefused:
    return CaptureRefused(
        f"this would capture {what}",
        hint="see what --include names, or name with --exclude what must stay",
    )
