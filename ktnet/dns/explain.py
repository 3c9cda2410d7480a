"""How a name is decided and answered, step by step, for `ktnet dns`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktnet.dns.edns import build_opt
from ktnet.dns.lifetime import NOERROR
from ktnet.dns.messages import HEADER, RD, Query, build_question, parse_query
from ktnet.dns.names import Name, fits_wire, format_name, parse_name
from ktnet.dns.policy import Zone
from ktnet.dns.resolver import Resolver

NDOTS = 1
"""A name with as many dots is tried as it stands first (resolv.conf(5), `ndots`, by default)."""

_UDP_SIZE = 1232


@dataclass(frozen=True, slots=True)
class Explanation:
    """One name that was tried."""

    name: str
    qtype: int
    zone: str
    """"cluster", "outside" or "nobody"."""
    rule: str
    """Why, in words."""
    asked: str
    """The name in full that was asked for."""
    server: str
    """The address of the nameserver that answered; "" where that is the shadow's, or nobody."""
    cached: bool
    time_s: float
    answer: bytes
    """The message, as a client gets it over TCP."""


async def explain(
    resolver: Resolver, name: str, qtype: int, search: Sequence[str] = ()
) -> list[Explanation]:
    """Ask for the names that the C library would try, until there is one that exists.

    The last one is what it ends with. Raises UsageError for what is no name.
    """
    tried = []
    for candidate in build_candidates(name, search):
        start_s = time.monotonic()
        lookup = resolver.start(build_lookup_query(candidate, qtype))
        known = resolver.recall(lookup)
        answer = known or await resolver.ask(lookup, over_tcp=True)
        decision = lookup.decision
        tried.append(
            Explanation(
                name=format_name(candidate),
                qtype=qtype,
                zone=decision.zone.value,
                rule=decision.rule.value,
                asked=format_name(decision.ask),
                server=answer.server,
                cached=known is not None and decision.zone is not Zone.NOBODY,
                time_s=time.monotonic() - start_s,
                answer=answer.wire,
            )
        )
        if answer.rcode == NOERROR:
            break
    return tried


def build_candidates(text: str, search: Iterable[str]) -> list[Name]:
    """The names that the C library tries for what a user typed, in order. Pure.

    Raises UsageError for what is no name.
    """
    name = parse_name(text)
    if not name or text.endswith("."):
        return [name]
    completed = [name + parse_name(domain) for domain in search]
    completed = [each for each in completed if fits_wire(each)]
    candidates = [name, *completed] if len(name) > NDOTS else [*completed, name]
    return list(dict.fromkeys(candidates))


def build_lookup_query(name: Name, qtype: int) -> Query:
    """A query of our own. Pure but for its id, which is random."""
    header = HEADER.pack(secrets.randbelow(0x10000), RD, 1, 0, 0, 0)
    root = parse_query(header + b"\0" + qtype.to_bytes(2, "big") + b"\0\1")
    return build_question(root, name, build_opt(_UDP_SIZE))
