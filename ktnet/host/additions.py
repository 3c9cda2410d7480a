"""Addresses that turn out to be the cluster's during a session: which are captured too. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from ktnet.host.checker import Ranges

MAX_ADDED = 128
"""In a session: each is a route of its own. A cluster with more of them outside of its ranges wants
--include."""

PRIVATE = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
)
"""Only of these (RFC 1918, RFC 6598): whoever may write an EndpointSlice shall not be able to have
a laptop's way to a public address lead through the cluster."""


def plan_additions(
    addresses: Iterable[IPv4Address],
    captured: Iterable[IPv4Network],
    excluded: Iterable[IPv4Network | IPv4Address],
) -> tuple[IPv4Network, ...]:
    """Routes for those that none of `captured` holds, that are private, and not `excluded`.

    What this machine needs for itself is not known here: see `check_routes`.
    """
    outside = Ranges((*captured, *map(IPv4Network, excluded)))
    wanted = (IPv4Network(address) for address in dict.fromkeys(addresses))
    return tuple(
        network
        for network in wanted
        if not outside.overlap(network) and any(network.subnet_of(each) for each in PRIVATE)
    )
