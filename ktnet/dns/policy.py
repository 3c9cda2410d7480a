"""Whose name is it: the cluster's or somebody else's? Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from ktnet.dns.names import Name, fits_wire, fold_case, is_under, parse_name

_REVERSE = (b"in-addr", b"arpa")
_SVC = b"svc"


class Zone(enum.Enum):
    """Who is asked for a name."""

    CLUSTER = "cluster"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Decision:
    """Who is asked, and for which name: the asked one, or a short one completed."""

    zone: Zone
    ask: Name


@dataclass(frozen=True, slots=True)
class Policy:
    """Which names go to the cluster; made by `build_policy`. Names in it are folded."""

    cluster_domain: Name
    captured: tuple[IPv4Network, ...]
    exists: Callable[[str, str], bool]
    include: tuple[Name, ...]
    exclude: tuple[Name, ...]

    def decide(self, name: Name) -> Decision:
        """Who is asked for `name`, a name as it came.

        What is excluded never goes to the cluster. A short name goes there only where its
        Service exists, so that `foo.io` isn't stolen because a namespace is called `io`.
        """
        folded = fold_case(name)
        if any(is_under(folded, suffix) for suffix in self.exclude):
            return Decision(Zone.OUTSIDE, name)
        if is_under(folded, self.cluster_domain):
            return Decision(Zone.CLUSTER, name)
        full = self._complete(name, folded)
        if full is not None:
            return Decision(Zone.CLUSTER, full)
        if self._is_captured(folded) or any(is_under(folded, suffix) for suffix in self.include):
            return Decision(Zone.CLUSTER, name)
        return Decision(Zone.OUTSIDE, name)

    def _complete(self, name: Name, folded: Name) -> Name | None:
        """The full name of `<service>.<namespace>` or `<service>.<namespace>.svc`.

        None where it isn't of that form or there is no such Service.
        """
        if len(name) == 3 and folded[2] == _SVC:
            full = name + self.cluster_domain
        elif len(name) == 2:
            full = (*name, _SVC, *self.cluster_domain)
        else:
            return None
        try:
            service, namespace = folded[0].decode("ascii"), folded[1].decode("ascii")
        except UnicodeDecodeError:
            return None
        return full if fits_wire(full) and self.exists(namespace, service) else None

    def _is_captured(self, folded: Name) -> bool:
        """Whether this is a reverse name all of whose addresses are captured."""
        network = parse_reverse_name(folded)
        return network is not None and any(network.subnet_of(range_) for range_ in self.captured)


def build_policy(
    cluster_domain: str,
    captured: Iterable[IPv4Network],
    exists: Callable[[str, str], bool],
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> Policy:
    """A policy from what users and cluster say.

    `exists(namespace, service)`, both in lower case, is asked for every short name: it must be
    quick. `include` and `exclude` are suffixes. Raises UsageError for what is no name.
    """
    return Policy(
        cluster_domain=fold_case(parse_name(cluster_domain)),
        captured=tuple(collapse_addresses(captured)),
        exists=exists,
        include=tuple(fold_case(parse_name(suffix)) for suffix in include),
        exclude=tuple(fold_case(parse_name(suffix)) for suffix in exclude),
    )


def parse_reverse_name(folded: Name) -> IPv4Network | None:
    """The addresses that a name under in-addr.arpa stands for (RFC 1035 section 3.5).

    `1.0.96.10.in-addr.arpa` is a network of one, `96.10.in-addr.arpa` is 10.96.0.0/16; labels in
    front of four octets change nothing (`b._dns-sd._udp.0.0.96.10.in-addr.arpa`, RFC 6763
    section 11). None for other names, and where no octet can be told.
    """
    if not is_under(folded, _REVERSE):
        return None
    octets: list[int] = []
    for label in reversed(folded[: -len(_REVERSE)]):
        octet = _parse_octet(label)
        if octet is None or len(octets) == 4:
            break
        octets.append(octet)
    if not octets:
        return None
    address = IPv4Address(bytes(octets + [0] * (4 - len(octets))))
    return IPv4Network((address, 8 * len(octets)))


def _parse_octet(label: bytes) -> int | None:
    """0 to 255 in plain decimal; None for all else (`07`, `+7` and such belong to nobody)."""
    if not label.isdigit() or len(label) > 3 or (label[0] == ord("0") and len(label) > 1):
        return None
    value = int(label)
    return value if value <= 255 else None
