"""The cluster's DNS server: a snapshot of the API's Services, answered from."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dnslib import QTYPE

from ktnet.lab.api.store import Store
from ktnet.lab.dns.cache import Cache
from ktnet.lab.dns.message import build_response
from ktnet.lab.dns.querylog import QueryLog
from ktnet.lab.dns.socket import open_dns_server
from ktnet.lab.dns.zone import Answer, Zone
from ktnet.lab.propagation import Follower


class ClusterDns:
    """Answers for the cluster's names; `clock` counts seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._zone = self._build_zone()
        self._cache = Cache()
        self._queries = QueryLog()
        self._asker = ""
        self._follower = Follower(store, ("services", "endpointslices", "namespaces"), self.refresh)

    async def run(self) -> None:
        """Follows the API until cancelled."""
        await self._follower.run()

    async def settle(self) -> None:
        """Until it has heard of all that the API holds by now."""
        await self._follower.settle()

    def respond(self, query: bytes, udp: bool, asker: str) -> bytes | None:
        """The answer to a query's bytes."""
        self._asker = asker
        return build_response(query, self._resolve, udp=udp, recursive=False)

    def list_queries(self) -> list[dict[str, object]]:
        """What was asked, oldest first."""
        return self._queries.list()

    def forget(self) -> None:
        """What is remembered, as when CoreDNS is started anew."""
        self._cache = Cache()

    async def refresh(self) -> None:
        """Sees the API as it is now."""
        self._zone = self._build_zone()

    def _build_zone(self) -> Zone:
        return Zone(
            self._store.list("services"),
            self._store.list("endpointslices"),
            (each["metadata"]["name"] for each in self._store.list("namespaces")),
            serial=int(time.time()),
        )

    def _resolve(self, name: str, kind: int, dnssec: bool) -> Answer:
        answer = self._cache.answer(
            (name, kind, dnssec), self._clock(), lambda: self._zone.answer(name, kind)
        )
        self._queries.add(self._asker, name, kind, answer.rcode)
        if kind in {QTYPE.A, QTYPE.AAAA} and len(answer.records) > 1:
            # CoreDNS's plugin `loadbalance`; aliases stay in front of what they stand for.
            aliases = [each for each in answer.records if each.rtype == QTYPE.CNAME]
            others = [each for each in answer.records if each.rtype != QTYPE.CNAME]
            answer.records = [*aliases, *random.sample(others, len(others))]
        return answer


@asynccontextmanager
async def open_cluster_dns(store: Store, *, address: str, port: int) -> AsyncIterator[ClusterDns]:
    """Answers on address:port; its `run` must run for the answers to follow the API."""
    dns = ClusterDns(store)
    async with open_dns_server(address, port, dns.respond):
        yield dns
