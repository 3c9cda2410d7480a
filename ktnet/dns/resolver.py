"""From a query to its answer: decide whose it is, ask there, and turn failures into SERVFAIL.

Knows nothing of sockets; a cache belongs here, around `_ask`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ktnet.dns.messages import (
    REFUSED,
    SERVFAIL,
    Answer,
    Query,
    build_error,
    build_question,
    fit_answer,
    parse_answer,
)
from ktnet.dns.names import format_name
from ktnet.dns.policy import Policy, Zone
from ktnet.dns.rewrite import build_restored_answer
from ktnet.dns.upstream import Upstreams
from ktnet.errors import KtnetError
from ktnet.wire.dnsmessage import build_with_id

log = logging.getLogger(__name__)

AskCluster = Callable[[bytes], Awaitable[bytes]]
"""Has the cluster's resolver answer one DNS message; the answer is complete, never truncated.
Raises KtnetError or TimeoutError."""

CLUSTER_TIME_S = 2.0
"""For an answer of the cluster. The way there is milliseconds long, so after this the tunnel or
the cluster's resolver is down, and clients should hear it before their own 5 s are over."""

_TRANSFERS = {251, 252}
"""IXFR and AXFR: their answers are streams of messages (RFC 5936), which no proxy passes on."""


@dataclass(slots=True)
class Counters:
    """What the proxy has seen since it was opened."""

    queries: int = 0
    """Well-formed ones, the sum of the next three."""
    cluster: int = 0
    outside: int = 0
    refused: int = 0
    """Of types that we pass to nobody."""
    cluster_failures: int = 0
    """Answered with our own SERVFAIL since the cluster gave no answer."""
    outside_failures: int = 0
    malformed: int = 0
    """What came to our sockets and was no query."""
    dropped: int = 0
    """Over UDP, since too many others were being answered."""


class Resolver:
    """Answers queries: through the tunnel or through this machine's old nameservers."""

    def __init__(self, policy: Policy, ask_cluster: AskCluster, upstreams: Upstreams) -> None:
        self.policy = policy
        self.counters = Counters()
        self._ask_cluster = ask_cluster
        self._upstreams = upstreams

    async def resolve(self, query: Query, *, over_tcp: bool) -> bytes:
        """The answer to send, never larger than the asker takes; always some answer."""
        self.counters.queries += 1
        if query.qtype in _TRANSFERS:
            self.counters.refused += 1
            return build_error(query, REFUSED)
        decision = self.policy.decide(query.name)
        if decision.zone is Zone.CLUSTER:
            self.counters.cluster += 1
        else:
            self.counters.outside += 1
        try:
            if decision.zone is Zone.OUTSIDE:
                answer = await self._upstreams.ask(query, over_tcp=over_tcp)
            elif decision.ask == query.name:
                answer = await self._ask_for(query)
            else:
                full = await self._ask_for(build_question(query, decision.ask))
                answer = parse_answer(build_restored_answer(full, query, decision.ask), query)
        except (KtnetError, TimeoutError) as error:
            return self._failure(query, decision.zone, error)
        return answer.wire if over_tcp else fit_answer(answer, query.udp_size)

    async def _ask_for(self, query: Query) -> Answer:
        """The cluster's answer to the query as it stands."""
        async with asyncio.timeout(CLUSTER_TIME_S):
            wire = await self._ask_cluster(query.wire)
        # The tunnel matches answers to queries by an id of its own.
        return parse_answer(build_with_id(wire, query.id), query)

    def _failure(self, query: Query, zone: Zone, error: KtnetError | TimeoutError) -> bytes:
        if zone is Zone.CLUSTER:
            self.counters.cluster_failures += 1
            reason = "ktnet: no answer from the cluster"
        else:
            self.counters.outside_failures += 1
            reason = "ktnet: no answer from this machine's own nameservers"
        log.debug("%s (type %d): %s: %r", format_name(query.name), query.qtype, reason, error)
        return build_error(query, SERVFAIL, reason)
