"""From a query to its answer: decide whose it is, recall or ask, turn failures into SERVFAIL.

Knows nothing of sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from time import monotonic

from ktnet.dns.addresses import list_cluster_addresses
from ktnet.dns.cache import Cache
from ktnet.dns.counters import Counters
from ktnet.dns.edns import build_shared_opt
from ktnet.dns.flights import Flights
from ktnet.dns.lifetime import NXDOMAIN, build_capped, parse_lifetime_s
from ktnet.dns.messages import (
    AD,
    CD,
    RD,
    REFUSED,
    SERVFAIL,
    Answer,
    Query,
    build_addressed,
    build_error,
    build_question,
    fit_answer,
    parse_answer,
)
from ktnet.dns.names import fold_case, format_name
from ktnet.dns.newborn import build_apart, build_known_addresses, build_own_opt
from ktnet.dns.policy import Decision, Policy, Zone
from ktnet.dns.recent import RecentQueries
from ktnet.dns.rewrite import build_restored_answer
from ktnet.dns.upstream import Upstreams
from ktnet.errors import KtnetError
from ktnet.wire.dnsmessage import build_with_id
from ktnet.wire.service import Service

log = logging.getLogger(__name__)

AskCluster = Callable[[bytes], Awaitable[bytes]]
"""Has the cluster's resolver answer one DNS message; the answer is complete, never truncated.
Raises KtnetError or TimeoutError."""

Reach = Callable[[tuple[IPv4Address, ...]], Awaitable[None]]
"""Has a way made to addresses that names of the cluster stand for, before anybody hears of them."""

CLUSTER_TIME_S = 2.0
"""For an answer of the cluster. The way there is milliseconds long, so after this the tunnel or
the cluster's resolver is down, and clients should hear it before their own 5 s are over. The
shadow gives up a little earlier (`ktnet.shadow.resolver.TOTAL_TIME_S`)."""

MOST_CLUSTER_LIFETIME_S = 5.0
"""A scaled Deployment or a new pod's name shows after this at the latest, whatever its TTL: the
cluster's resolver, a few milliseconds away, has a cache of its own."""
MOST_OUTSIDE_LIFETIME_S = 300.0
"""Laptops change networks, and with them what a name stands for."""

_TRANSFERS = {251, 252}
"""IXFR and AXFR: their answers are streams of messages (RFC 5936), which no proxy passes on."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A query on its way to its answer."""

    query: Query
    decision: Decision
    key: Hashable | None
    """The same for all who may be given the same answer; None where only this asker may."""
    began_s: float
    """By the clock that only goes forward."""


class Resolver:
    """Answers queries: from memory, through the tunnel or from this machine's old nameservers."""

    def __init__(self, policy: Policy, ask_cluster: AskCluster, upstreams: Upstreams) -> None:
        self.policy = policy
        self.counters = Counters()
        self.recent = RecentQueries()
        self.most_cluster_ttl_s: int | None = None
        """What others may remember of the cluster's answers: all that these say, or for so long,
        and what is not there not at all."""
        self.reach: Reach | None = None
        self._ask_cluster = ask_cluster
        self._upstreams = upstreams
        self._cache = Cache()
        self._flights: Flights[Answer] = Flights()
        self._epoch = 0

    def use_upstreams(self, upstreams: Upstreams) -> None:
        """Ask these from now on for outside names; what others have said is forgotten."""
        self._upstreams = upstreams
        self.flush()

    def flush(self) -> None:
        """Forget all answers, also those that are under way: the servers may be others now."""
        self._cache.clear()
        self._flights.leave()
        self._epoch += 1

    def start(self, query: Query) -> Lookup:
        """Decide whose the query is."""
        self.counters.queries += 1
        decision = self.policy.decide(query.name)
        if query.qtype in _TRANSFERS or decision.zone is Zone.NOBODY:
            self.counters.refused += 1
        elif decision.zone is Zone.CLUSTER:
            self.counters.cluster += 1
        else:
            self.counters.outside += 1
        return Lookup(query, decision, build_key(decision, query), monotonic())

    def recall(self, lookup: Lookup) -> Answer | None:
        """The answer that needs nobody else; None where somebody has to be asked."""
        answer = self._recall(lookup)
        if answer is not None:
            self._note(lookup, answer, from_memory=True)
        return answer

    def _recall(self, lookup: Lookup) -> Answer | None:
        query = lookup.query
        if query.qtype in _TRANSFERS:
            return parse_answer(build_error(query, REFUSED), query)
        if lookup.decision.zone is Zone.NOBODY:
            return parse_answer(build_error(query, NXDOMAIN), query)
        if lookup.key is None:
            return None
        answer = self._cache.get(lookup.key, monotonic())
        if answer is None or is_contradicted(answer, lookup.decision):
            return None
        if lookup.decision.zone is Zone.CLUSTER:
            self.counters.cluster_cached += 1
        else:
            self.counters.outside_cached += 1
        return self._address(answer, lookup)

    async def ask(self, lookup: Lookup, *, over_tcp: bool) -> Answer:
        """The answer of whoever knows; always some answer, at worst our own SERVFAIL."""
        answer = await self._ask(lookup, over_tcp=over_tcp)
        self._note(lookup, answer, from_memory=False)
        return answer

    def _note(self, lookup: Lookup, answer: Answer, *, from_memory: bool) -> None:
        query, took_s = lookup.query, monotonic() - lookup.began_s
        zone = lookup.decision.zone
        self.recent.add(query.name, query.qtype, zone, answer.rcode, from_memory, took_s)

    async def _ask(self, lookup: Lookup, *, over_tcp: bool) -> Answer:
        query, decision, key = lookup.query, lookup.decision, lookup.key
        try:
            if key is None:
                answer = await self._fetch(query, decision, over_tcp=over_tcp)
                return self._address(answer, lookup)
            flight = key
            if decision.zone is Zone.OUTSIDE:
                # What comes from there may be cut off; through the tunnel all comes whole.
                flight = (key, over_tcp)
            answer = await self._flights.ask(flight, lambda: self._learn(lookup, over_tcp=over_tcp))
            return self._address(answer, lookup)
        except (KtnetError, TimeoutError) as error:
            return parse_answer(self._failure(query, decision.zone, error), query)

    def _address(self, answer: Answer, lookup: Lookup) -> Answer:
        """The answer as this asker gets it."""
        answer = replace(answer, wire=build_addressed(answer, lookup.query))
        if self.most_cluster_ttl_s is None or lookup.decision.zone is not Zone.CLUSTER:
            return answer
        return replace(answer, wire=build_capped(answer, self.most_cluster_ttl_s))

    async def resolve(self, query: Query, *, over_tcp: bool) -> bytes:
        """The answer to send, never larger than the asker takes; always some answer."""
        lookup = self.start(query)
        answer = self.recall(lookup) or await self.ask(lookup, over_tcp=over_tcp)
        return answer.wire if over_tcp else fit_answer(answer, query.udp_size)

    async def _learn(self, lookup: Lookup, *, over_tcp: bool) -> Answer:
        """Ask, and keep the answer for as long as it allows."""
        query, decision = lookup.query, lookup.decision
        shared_opt = build_shared_opt(query.opt)
        if shared_opt != query.opt:
            query = build_question(query, query.name, shared_opt)
        epoch = self._epoch
        answer = await self._fetch(query, decision, over_tcp=over_tcp)
        if epoch == self._epoch and not is_contradicted(answer, decision):
            is_inside = decision.zone is Zone.CLUSTER
            most_s = MOST_CLUSTER_LIFETIME_S if is_inside else MOST_OUTSIDE_LIFETIME_S
            lifetime_s = min(parse_lifetime_s(answer, query.qtype), most_s)
            self._cache.put(lookup.key, answer, monotonic(), lifetime_s)
        return answer

    async def _fetch(self, query: Query, decision: Decision, *, over_tcp: bool) -> Answer:
        """Ask whoever knows."""
        if decision.zone is Zone.OUTSIDE:
            return await self._upstreams.ask(query, over_tcp=over_tcp)
        asked = query
        if decision.ask != query.name:
            asked = build_question(query, decision.ask)
        async with asyncio.timeout(CLUSTER_TIME_S):
            answer = await self._ask_for(asked)
            if decision.service is not None and is_contradicted(answer, decision):
                answer = await self._ask_past_denial(asked, decision.service) or answer
        if decision.ask != query.name:
            answer = parse_answer(build_restored_answer(answer, query, decision.ask), query)
        if self.reach is not None:
            await self.reach(list_cluster_addresses(answer, self.policy))
        return answer

    async def _ask_for(self, query: Query) -> Answer:
        """The cluster's answer to the query as it stands."""
        wire = await self._ask_cluster(query.wire)
        # The tunnel matches answers to queries by an id of its own.
        return parse_answer(build_with_id(wire, query.id), query)

    async def _ask_past_denial(self, query: Query, service: Service) -> Answer | None:
        """The answer of a Service that the cluster's resolver doesn't know of yet."""
        known = build_known_addresses(query, service.addresses) if service.addresses else None
        if known is not None:
            return parse_answer(known, query)
        apart = build_apart(query)
        if apart is None:
            return None
        answer = await self._ask_for(apart)
        if answer.rcode == NXDOMAIN:
            return None
        wire = build_restored_answer(answer, query, query.name, opt=build_own_opt(query))
        return parse_answer(wire, query)

    def _failure(self, query: Query, zone: Zone, error: KtnetError | TimeoutError) -> bytes:
        if zone is Zone.CLUSTER:
            self.counters.cluster_failures += 1
            reason = "ktnet: no answer from the cluster"
        else:
            self.counters.outside_failures += 1
            reason = "ktnet: no answer from this machine's own nameservers"
        log.debug("%s (type %d): %s: %r", format_name(query.name), query.qtype, reason, error)
        return build_error(query, SERVFAIL, reason)


def build_key(decision: Decision, query: Query) -> Hashable | None:
    """What two queries must have in common to be given the same answer; None for one alone. Pure.

    Their case isn't of it: each is answered in its own.
    """
    shared_opt = build_shared_opt(query.opt)
    if shared_opt is None or not query.is_plain:
        return None
    return (
        decision.zone,
        fold_case(query.name),
        query.qtype,
        query.qclass,
        query.flags & (RD | AD | CD),
        shared_opt,
    )


def is_contradicted(answer: Answer, decision: Decision) -> bool:
    """Whether the answer denies the name of a Service that is known to exist. Pure."""
    return decision.service is not None and answer.rcode == NXDOMAIN
