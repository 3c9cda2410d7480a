"""Whose name is it: the cluster's or somebody else's? Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from ktnet.dns.names import Name, fits_wire, fold_case, is_under, parse_name
from ktnet.wire.service import FindService, Service

_REVERSE = (b"in-addr", b"arpa")
_SVC = b"svc"


class Zone(enum.Enum):
    """Who is asked for a name."""

    CLUSTER = "cluster"
    OUTSIDE = "outside"
    NOBODY = "nobody"


class Rule(enum.Enum):
    """Why a name goes where it goes, in words for the user."""

    EXCLUDED = "--dns-exclude"
    CLUSTER_DOMAIN = "the cluster's domain"
    SERVICE = "there is such a Service"
    CAPTURED = "reverse name of captured addresses"
    INCLUDED = "--dns-include"
    COMPLETED = "the cluster's domain, and a search domain of this machine behind it"
    OTHER = "no name of the cluster"


@dataclass(frozen=True, slots=True)
class Decision:
    """Who is asked, and for which name: the asked one, or a short one completed."""

    zone: Zone
    ask: Name
    rule: Rule
    service: Service | None = None
    """The Service whose own name (or port's name) this is, where it is known to exist."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which names go to the cluster; made by `build_policy`. Names in it are folded."""

    cluster_domain: Name
    captured: tuple[IPv4Network, ...]
    find: FindService
    include: tuple[Name, ...]
    exclude: tuple[Name, ...]
    completed: tuple[Name, ...]
    """What the C library makes of the cluster's domain when it tries the search domains."""

    def decide(self, name: Name) -> Decision:
        """Who is asked for `name`, a name as it came.

        What is excluded never goes to the cluster. A short name goes there only where its
        Service exists, so that `foo.io` isn't stolen because a namespace is called `io`.
        """
        folded = fold_case(name)
        if any(is_under(folded, suffix) for suffix in self.exclude):
            return Decision(Zone.OUTSIDE, name, Rule.EXCLUDED)
        if is_under(folded, self.cluster_domain):
            return self._decide_full(name, folded)
        return self._decide_short(name, folded) or self._decide_other(name, folded)

    def _decide_short(self, name: Name, folded: Name) -> Decision | None:
        for full, short in self._complete(name, folded):
            found = self._find_owner(short)
            if found is not None and fits_wire(full):
                return Decision(Zone.CLUSTER, full, Rule.SERVICE, _owned(short, found))
        return None

    def _decide_other(self, name: Name, folded: Name) -> Decision:
        if self._is_captured(folded):
            return Decision(Zone.CLUSTER, name, Rule.CAPTURED)
        if any(is_under(folded, suffix) for suffix in self.include):
            return Decision(Zone.CLUSTER, name, Rule.INCLUDED)
        if any(is_under(folded, suffix) for suffix in self.completed):
            # It does so after the cluster has denied a name, which is nobody else's business.
            return Decision(Zone.NOBODY, name, Rule.COMPLETED)
        return Decision(Zone.OUTSIDE, name, Rule.OTHER)

    def _decide_full(self, name: Name, folded: Name) -> Decision:
        short = folded[: len(folded) - len(self.cluster_domain)]
        found = self._find_owner(short[:-1]) if short[-1:] == (_SVC,) else None
        service = _owned(short[:-1], found) if found is not None else None
        return Decision(Zone.CLUSTER, name, Rule.CLUSTER_DOMAIN, service)

    def _complete(self, name: Name, folded: Name) -> Iterable[tuple[Name, Name]]:
        """What a short name may be in full, each with its folded part in front of `svc`."""
        if folded[-1:] == (_SVC,):
            yield name + self.cluster_domain, folded[:-1]
        yield (*name, _SVC, *self.cluster_domain), folded

    def _find_owner(self, short: Name) -> Service | None:
        """The Service of `<service>.<namespace>`, or of a name below one, all folded.

        Below a Service are `_<port>._<protocol>`, and `<endpoint>` where it is headless.
        """
        if len(short) < 2 or len(short) > 4:
            return None
        *below, service, namespace = short
        if len(below) == 2 and not all(label.startswith(b"_") for label in below):
            return None
        try:
            found = self.find(namespace.decode("ascii"), service.decode("ascii"))
        except UnicodeDecodeError:
            return None
        return None if found is not None and len(below) == 1 and not found.headless else found

    def _is_captured(self, folded: Name) -> bool:
        """Whether this is a reverse name all of whose addresses are captured."""
        network = parse_reverse_name(folded)
        return network is not None and any(network.subnet_of(range_) for range_ in self.captured)


def build_policy(
    cluster_domain: str,
    captured: Iterable[IPv4Network],
    find: FindService,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    search: Iterable[str] = (),
) -> Policy:
    """A policy from what users and cluster say.

    `find` is asked for every name that may be a Service's: it must be quick. `include` and
    `exclude` are suffixes; `search` are this machine's own search domains. Raises UsageError for
    what is no name.
    """
    domain = fold_case(parse_name(cluster_domain))
    return Policy(
        cluster_domain=domain,
        captured=tuple(collapse_addresses(captured)),
        find=find,
        include=tuple(fold_case(parse_name(suffix)) for suffix in include),
        exclude=tuple(fold_case(parse_name(suffix)) for suffix in exclude),
        completed=tuple(domain + fold_case(parse_name(suffix)) for suffix in search),
    )


def _owned(short: Name, found: Service) -> Service | None:
    """The Service where the name is its own or a port's: one exists as soon as the other does.

    Of the names of endpoints the Service says nothing: they come and go without it.
    """
    return None if len(short) == 3 else found


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
