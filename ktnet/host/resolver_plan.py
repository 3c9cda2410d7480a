"""How this machine resolves names, and how it shall: by its file, or by systemd-resolved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from ktnet.errors import DnsError

MAX_SEARCH = 32
"""Search domains. Old resolvers heed 6 of them (resolv.conf(5)), no machine has this many."""

MAX_DOMAINS = 256
"""Of one link, for searching and routing together: LINK_SEARCH_DOMAINS_MAX of systemd-resolved
252, which refuses all of them where there are more (1,024 in later versions)."""

DnsMode = Literal["auto", "resolved", "resolvconf", "off"]
"""What the user wants: what fits, systemd-resolved told, the file changed, or nothing changed."""


@dataclass(frozen=True)
class ResolverFact:
    """The resolver's file: what it is, what it says, and who else has a hand in it.

    `nameservers` are those to ask for outside names, as written (IPv6 ones may have a %zone): where
    the file names systemd-resolved's stub, the servers behind it. `manager` is the program that
    writes the file, "" where none is known; `resolved`: systemd-resolved takes orders on the system
    bus.
    """

    kind: Literal["file", "symlink", "bind-mount", "missing"]
    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    stub: bool
    manager: str = ""
    resolved: bool = False


@dataclass(frozen=True)
class ResolverPlan:
    """What the resolver's file shall say: one nameserver, and the search domains in order."""

    nameserver: IPv4Address
    search: tuple[str, ...]


@dataclass(frozen=True)
class ResolvedPlan:
    """What systemd-resolved shall know of the TUN: its nameserver, which names go there.

    `search` are domains to complete short names with, `routing` more domains under which names are
    asked for there (`~domain` in resolvectl(1)), none of `search` among them.
    """

    nameserver: IPv4Address
    search: tuple[str, ...]
    routing: tuple[str, ...]


AnyResolverPlan = ResolverPlan | ResolvedPlan


def plan_resolver(
    fact: ResolverFact,
    nameserver: IPv4Address,
    search: Sequence[str],
    routing: Sequence[str],
    *,
    mode: DnsMode,
) -> AnyResolverPlan | None:
    """How this machine shall come to ask `nameserver`; None where it shall not.

    systemd-resolved is told where the file names its stub; else the file is changed, since
    applications read that and not what systemd-resolved knows. What is beyond MAX_DOMAINS is left
    out of `routing`, from its end. Raises DnsError where the mode isn't to be had.
    """
    if mode == "off":
        return None
    if mode == "resolved" and not fact.resolved:
        raise DnsError(
            "systemd-resolved doesn't answer on this machine's system bus",
            hint="is it running? see: systemctl status systemd-resolved; or --dns-mode resolvconf",
        )
    if mode == "resolvconf" or not fact.resolved or (mode == "auto" and not fact.stub):
        return ResolverPlan(nameserver, merge_search(search, fact.search))
    first = merge_search(search, ())
    all_ = merge_search(first, routing)[:MAX_DOMAINS]
    return ResolvedPlan(nameserver, first, all_[len(first) :])


def build_reverse_zones(networks: Iterable[IPv4Network]) -> tuple[str, ...]:
    """The zones under in-addr.arpa that hold the reverse names of these networks.

    Zones are cut at octets, so they may hold other names too (as that of 10.96.0.0/17, which is
    `96.10.in-addr.arpa`); a network that is up to 16 zones wide is named by those.
    """
    zones = {zone for network in networks for zone in _cut_at_octets(network)}
    widest = (z for z in zones if not any(z != other and z.subnet_of(other) for other in zones))
    return tuple(f"{_reverse(zone)}.in-addr.arpa" for zone in sorted(widest))


def merge_search(first: Sequence[str], then: Sequence[str]) -> tuple[str, ...]:
    """Search domains in order, each once; names are compared without case and final dot."""
    merged: dict[str, str] = {}
    for domain in (*first, *then):
        name = domain.rstrip(".")
        if name:
            merged.setdefault(name.lower(), name)
    return tuple(merged.values())


def _cut_at_octets(network: IPv4Network) -> Iterable[IPv4Network]:
    if network.prefixlen > 24:
        return (network.supernet(new_prefix=24),)
    below = max(8, -(-network.prefixlen // 8) * 8)
    if below == 8 or below - network.prefixlen <= 4:
        return network.subnets(new_prefix=below)
    return (network.supernet(new_prefix=below - 8),)


def _reverse(zone: IPv4Network) -> str:
    octets = str(zone.network_address).split(".")[: zone.prefixlen // 8]
    return ".".join(reversed(octets))
