"""IPv6 networks of the cluster, which the tunnel doesn't carry: told so at once. Pure.

A Service of two families has AAAA records too, and applications try those first. Without a route of
ours such a packet goes wherever this machine's IPv6 goes, and nobody answers: some seconds pass
before the application tries IPv4. An unreachable route (ip-route(8)) has the kernel say so without
delay.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network

from ktnet.errors import HostNetworkError
from ktnet.host.facts import HostFacts

MAX_UNREACHABLE = 64

MIN_PREFIX = 32
"""What a registry gives a whole provider: no cluster has more, so what is wider is a mistake."""

NEVER_UNREACHABLE = tuple(IPv6Network(text) for text in ("::/8", "fe80::/10", "ff00::/8"))
"""Loopback, mapped and translated IPv4, link-local, multicast (RFC 4291 section 2.4, RFC 6052)."""


def plan_unreachable(
    facts: HostFacts, networks: Iterable[IPv6Network], excluded: Iterable[IPv6Address] = ()
) -> tuple[tuple[IPv6Network, ...], tuple[str, ...]]:
    """The networks that applications shall give up on at once, and what is left out of them.

    `excluded` is the API server, should it be there.
    """
    kept, warnings = [], []
    for network in dict.fromkeys(networks):
        if any(address in network for address in excluded):
            continue  # the way to the cluster
        try:
            check_unreachable((network,), facts)
        except HostNetworkError as error:
            warnings.append(f"IPv6 stays as it is for {network}: {error.message}")
        else:
            kept.append(network)
    return tuple(kept[:MAX_UNREACHABLE]), tuple(warnings)


def check_unreachable(networks: Iterable[IPv6Network], facts: HostFacts) -> None:
    """Raises HostNetworkError where these would cut this machine off from its own IPv6."""
    nameservers = [each for text in facts.resolver.nameservers for each in _parse(text)]
    for network in networks:
        if network.prefixlen < MIN_PREFIX:
            raise HostNetworkError(f"{network} is wider than any cluster's networks")
        for never in NEVER_UNREACHABLE:
            if network.overlaps(never):
                raise HostNetworkError(f"{network} is a part of {never}")
        for subnet in facts.subnets6:
            if network.overlaps(subnet):
                raise HostNetworkError(f"{subnet} in it is a subnet of this machine")
        for server in nameservers:
            if server in network:
                raise HostNetworkError(f"{server} in it is a nameserver of this machine")


def _parse(text: str) -> tuple[IPv6Address, ...]:
    try:
        return (IPv6Address(text.partition("%")[0]),)
    except ValueError:
        return ()
