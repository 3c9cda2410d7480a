"""Asks sessions and cluster while somebody looks, once for all who do; else not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from ktnet.dashboard.history import History
from ktnet.dashboard.naming import (
    Connection,
    build_flow_row,
    build_service_names,
    read_connection,
)
from ktnet.dashboard.timeline import Timeline
from ktnet.errors import KtnetError
from ktnet.tasks import open_tasks

INTERVAL_S = 1.0
"""Between two looks at the sessions."""

CLUSTER_INTERVAL_S = 10.0
"""Between two looks at the cluster, which has others to serve too."""

FRESH_S = 2.0
"""Who opens a page, or loads it anew, sees the cluster no older than this a moment later."""

Json = dict[str, Any]


class Source(Protocol):
    """Where it comes from (`ktnet.dashboard.source.Source`)."""

    async def read_sessions(self, after: Callable[[Json], int]) -> list[tuple[Json, Json]]:
        """Each session's status and what it tells live."""

    async def name_processes(self, connections: list[Connection]) -> dict[Connection, str]:
        """Who has which connection."""

    async def read_cluster(self) -> Json:
        """The cluster's side; raises a KtnetError."""


@dataclass(frozen=True)
class Looked:
    """What there was at one moment."""

    number: int = 0
    at_s: float = 0.0
    """By the clock that only goes forward."""
    sessions: list[Json] = field(default_factory=list)
    samples: dict[str, Json] = field(default_factory=dict)
    """By the session's key, as in "session" of flows and queries."""
    flows: list[Json] = field(default_factory=list)
    queries: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)


class Feed:
    """What is known of this machine's sessions and the cluster."""

    def __init__(
        self,
        source: Source,
        *,
        interval_s: float = INTERVAL_S,
        cluster_interval_s: float = CLUSTER_INTERVAL_S,
    ) -> None:
        self._source = source
        self._interval_s = interval_s
        self._cluster_interval_s = cluster_interval_s
        self._histories: dict[str, History] = {}
        self._timeline = Timeline()
        self._looked = Looked()
        self._cluster: Json = {}
        self._cluster_at_s = float("-inf")
        self._looking, self._surveying = asyncio.Lock(), asyncio.Lock()
        self._news = asyncio.Condition()
        self._watchers = 0
        self._watched = asyncio.Event()
        self._is_stale = asyncio.Event()

    # -- while somebody watches ------------------------------------------------------------------

    async def run(self) -> None:
        """Looks again and again while somebody watches, until cancelled."""
        async with open_tasks() as tasks:
            tasks.create_task(self._run_cluster(), name="look at the cluster")
            while True:
                await self._watched.wait()
                started_s = time.monotonic()
                await self.look(newer_than_s=started_s)
                wait_s = started_s + self._interval_s - time.monotonic()
                # A session that hangs costs its time-out; then others get some rest from us too.
                await asyncio.sleep(max(self._interval_s / 10, wait_s))

    async def _run_cluster(self) -> None:
        while True:
            await self._watched.wait()
            self._is_stale.clear()
            await self.survey(newer_than_s=time.monotonic())
            try:
                async with asyncio.timeout(self._cluster_interval_s):
                    await self._is_stale.wait()
            except TimeoutError:
                continue

    def expect_change(self) -> None:
        """Something was changed in the cluster: look there soon."""
        self._is_stale.set()

    async def watch(self) -> AsyncGenerator[tuple[Looked, Json], None]:
        """Each look from now on, with the newest of the cluster; those that the caller is too slow
        for are left out."""
        if time.monotonic() - self._cluster_at_s > FRESH_S:
            self.expect_change()
        self._watchers += 1
        self._watched.set()
        try:
            seen = self._looked.number
            while True:
                async with self._news:
                    while self._looked.number == seen:
                        await self._news.wait()
                seen = self._looked.number
                yield self._looked, self._cluster
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched.clear()

    @property
    def watchers(self) -> int:
        """How many look on."""
        return self._watchers

    # -- one look --------------------------------------------------------------------------------

    async def look(self, newer_than_s: float | None = None) -> Looked:
        """The last look, or a new one where that is older than an interval (or `newer_than_s`, by
        the clock that only goes forward)."""
        limit_s = time.monotonic() - self._interval_s if newer_than_s is None else newer_than_s
        async with self._looking:
            if not self._looked.number or self._looked.at_s < limit_s:
                await self._look()
            return self._looked

    async def _look(self) -> None:
        timeline = self._timeline
        read = await self._source.read_sessions(lambda each: timeline.seen(build_key(each)))
        by_key = {build_key(status): (status, live) for status, live in read}
        flows = [(key, flow) for key, (_, live) in by_key.items() for flow in live.get("flows", ())]
        processes = await self._source.name_processes([read_connection(flow) for _, flow in flows])
        services = build_service_names(self._cluster.get("services", ()))
        now_s = time.time()
        self._histories = {key: self._histories.get(key) or History() for key in by_key}
        samples = {
            key: asdict(self._histories[key].add(now_s, status, live.get("round_trip_s")))
            for key, (status, live) in by_key.items()
        }
        timeline.look(
            now_s,
            {key: live.get("events", []) for key, (_, live) in by_key.items()},
            {key: build_title(status) for key, (status, _) in by_key.items()},
        )
        queries = [
            {**query, "session": key}
            for key, (_, live) in by_key.items()
            for query in live.get("queries", ())
        ]
        looked = Looked(
            self._looked.number + 1,
            time.monotonic(),
            [{**status, "key": key} for key, (status, _) in by_key.items()],
            samples,
            [build_flow_row(flow, key, services, processes) for key, flow in flows],
            sorted(queries, key=lambda query: float(query["at_s"]), reverse=True),
            timeline.list_events(),
        )
        async with self._news:
            self._looked = looked
            self._news.notify_all()

    async def survey(self, newer_than_s: float | None = None) -> Json:
        """The cluster's side, as `look`; with "error" where it can't be known."""
        limit_s = time.monotonic() - self._cluster_interval_s
        limit_s = limit_s if newer_than_s is None else newer_than_s
        async with self._surveying:
            if self._cluster_at_s < limit_s:
                try:
                    self._cluster = {**await self._source.read_cluster(), "error": ""}
                except KtnetError as error:
                    # What was known before is most likely still so.
                    self._cluster = {**self._cluster, "error": error.message}
                self._timeline.cluster_answered(time.time(), self._cluster["error"])
                self._cluster_at_s = time.monotonic()
            return self._cluster

    def list_histories(self) -> dict[str, list[Json]]:
        """The samples of each session that there is, by its key."""
        return {
            key: [asdict(sample) for sample in history.list_samples()]
            for key, history in self._histories.items()
        }


def build_key(session: Json) -> str:
    """What tells a session from others, also from one that later gets its pid."""
    return f"{session.get('pid')}@{session.get('since', '')}"


def build_title(session: Json) -> str:
    """For people: "connect (4711)"."""
    return f"{session.get('command') or 'session'} ({session.get('pid')})"
