"""What dead sessions have left in a namespace, and who may remove it: pure.

A session is known by its Lease. The holder's own are dead once the Lease has run out; somebody
else's not before ten minutes of silence, since a laptop that sleeps isn't dead. All by the API
server's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ktnet.cluster.exchange.workload import Subject
from ktnet.cluster.holding import SILENCE_S, Holding, parse_holding
from ktnet.cluster.shadow.manifests import HOLDER_ANNOTATION
from ktnet.wire.meshrecord import SESSION_LABEL
from ktnet.wire.record import Record

Json = dict[str, Any]

START_S = 30.0
"""A session makes its Job first and its Lease next: for as long as a request may take
(`ktnet.cluster.server.api`), a Job may be without one."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An object that bears our annotation."""

    subject: Subject
    text: str
    record: Record


@dataclass(frozen=True, slots=True)
class Leftover:
    """What there is of one dead session."""

    session: str
    holder: str
    """user@host; empty where nothing says it."""
    silent_s: float
    taken: tuple[Taken, ...]
    jobs: tuple[str, ...]


def find_leftovers(
    jobs: Iterable[Json],
    leases: Iterable[Json],
    taken: Iterable[Taken],
    now: datetime,
    *,
    me: str,
    all_users: bool,
) -> list[Leftover]:
    """The sessions whose remains may be removed by `me` (user@host), in the order of their names.

    `jobs` and `leases` are those that ktnet manages in the namespace.
    """
    by_lease = {each["metadata"]["name"]: each for each in leases}
    jobs_of: dict[str, list[Json]] = {}
    for job in jobs:
        labels = job["metadata"].get("labels") or {}
        jobs_of.setdefault(labels.get(SESSION_LABEL, job["metadata"]["name"]), []).append(job)
    taken_of: dict[str, list[Taken]] = {}
    for each in taken:
        taken_of.setdefault(each.record.session, []).append(each)
    found = []
    for session in sorted({*by_lease, *jobs_of, *taken_of}):
        lease = by_lease.get(session)
        own_jobs, own_taken = jobs_of.get(session, []), taken_of.get(session, [])
        holder = _find_holder(lease, own_taken, own_jobs)
        holding = parse_holding(lease, now) if lease is not None else _without_lease(own_jobs, now)
        is_mine = holder == me
        if not (is_mine or all_users):
            continue
        if _is_dead(holding, is_mine=is_mine):
            found.append(
                Leftover(
                    session,
                    holder,
                    holding.silent_s,
                    tuple(own_taken),
                    tuple(job["metadata"]["name"] for job in own_jobs),
                )
            )
    return found


def _is_dead(holding: Holding, *, is_mine: bool) -> bool:
    return not holding.is_live if is_mine else holding.is_abandoned


def _without_lease(jobs: Iterable[Json], now: datetime) -> Holding:
    """As if the youngest of its Jobs had been a renewal: it may just be starting."""
    ages_s = list(_list_ages_s(jobs, now))
    if not ages_s:
        return Holding(exists=False, silent_s=SILENCE_S + 1)
    return Holding(exists=True, silent_s=min(ages_s), duration_s=START_S)


def _list_ages_s(jobs: Iterable[Json], now: datetime) -> Iterator[float]:
    for job in jobs:
        try:
            created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
        except (KeyError, TypeError, ValueError):
            yield 0.0
        else:
            yield max(0.0, (now - created) / timedelta(seconds=1))


def _find_holder(lease: Json | None, taken: Iterable[Taken], jobs: Iterable[Json]) -> str:
    spec: Mapping[str, Any] = (lease or {}).get("spec") or {}
    notes = [job["metadata"].get("annotations") or {} for job in jobs]
    told = [
        spec.get("holderIdentity"),
        *(each.record.holder for each in taken),
        *(each.get(HOLDER_ANNOTATION) for each in notes),
    ]
    return str(next(filter(None, told), ""))
