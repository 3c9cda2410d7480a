"""Whose sessions there are in a namespace, or in all of them, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ktnet.cluster.cleaning import Taken
from ktnet.cluster.holding import parse_holding
from ktnet.cluster.labels import COMMAND_LABEL, MANAGED
from ktnet.cluster.leftovers import list_taken
from ktnet.cluster.mesh.leftovers import list_meshed
from ktnet.cluster.server.api import Api

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SessionView:
    """One session, as the cluster knows it."""

    namespace: str
    name: str
    command: str
    holder: str
    """user@host."""
    since: str
    """RFC 3339; empty where nothing says it."""
    alive: bool
    """By its Lease and the API server's clock."""
    silent_s: float
    """Since its last sign of life."""
    holds: tuple[str, ...]
    """What it has taken: "deployment/tomcat"."""


async def list_sessions(api: Api, namespace: str | None) -> list[SessionView]:
    """Of a namespace, or (None) of all of them. Raises Forbidden where Leases can't be listed."""
    leases = await api.list_all("leases", namespace=namespace, labels=MANAGED)
    taken = await list_taken(api, namespace)
    meshed = {
        (where, member.session): f"{mesh.title} ({member.mark})"
        for where, mesh in await list_meshed(api, namespace)
        for member in mesh.record.members
    }
    return build_views(leases["items"], taken, api.now(), meshed)


def build_views(
    leases: Iterable[Json],
    taken: Iterable[Taken],
    now: datetime,
    meshed: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> list[SessionView]:
    """Sorted by namespace and name; a record whose Lease is gone makes a dead session.

    `meshed` says of members of a mesh, by (namespace, session), what they share.
    """
    held: dict[tuple[str, str], list[Taken]] = {}
    for each in taken:
        key = (each.subject.obj["metadata"].get("namespace", ""), each.record.session)
        held.setdefault(key, []).append(each)
    views = []
    for lease in leases:
        metadata, spec = lease["metadata"], lease.get("spec") or {}
        key = (metadata.get("namespace", ""), metadata["name"])
        holding = parse_holding(lease, now)
        views.append(
            SessionView(
                namespace=key[0],
                name=key[1],
                command=(metadata.get("labels") or {}).get(COMMAND_LABEL, ""),
                holder=str(spec.get("holderIdentity") or ""),
                since=str(spec.get("acquireTime") or "").partition(".")[0],
                alive=holding.is_live,
                silent_s=round(holding.silent_s, 1),
                holds=(
                    *(each.subject.title for each in held.pop(key, [])),
                    *([meshed[key]] if key in meshed else []),
                ),
            )
        )
    for (namespace, session), those in held.items():
        record = those[0].record
        titles = tuple(each.subject.title for each in those)
        views.append(
            SessionView(
                namespace, session, "exchange", record.holder, record.since, False, 0.0, titles
            )
        )
    return sorted(views, key=lambda view: (view.namespace, view.name))
