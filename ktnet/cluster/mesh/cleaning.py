"""What is left of meshes whose users have gone, and who may remove it: pure.

A member is known by its Lease, as other sessions are (`ktnet.cluster.cleaning`). A router that no
Service's annotation names was never used, or is used no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ktnet.cluster.holding import SILENCE_S, Holding, parse_holding
from ktnet.cluster.mesh.router_manifests import ROUTER_LABEL
from ktnet.cluster.shadow.manifests import HOLDER_ANNOTATION
from ktnet.wire.meshrecord import Member, MeshRecord

Json = dict[str, Any]

START_S = 60.0
"""A router is made first, and its maker's Lease then; for so long it may be without either."""


@dataclass(frozen=True, slots=True)
class Meshed:
    """A Service that bears our annotation."""

    service: str
    text: str
    record: MeshRecord

    @property
    def title(self) -> str:
        """For people."""
        return f"service/{self.service}"


@dataclass(frozen=True, slots=True)
class MeshLeftovers:
    """What may be removed."""

    members: tuple[tuple[Meshed, tuple[Member, ...]], ...]
    """Of each mesh those that have gone."""
    routers: tuple[str, ...]
    """That nobody needs."""


def find_mesh_leftovers(
    meshed: Iterable[Meshed],
    routers: Iterable[Json],
    leases: Iterable[Json],
    now: datetime,
    *,
    me: str,
    all_users: bool,
) -> MeshLeftovers:
    """What may be removed by `me` (user@host). `routers` are Deployments, `leases` all of ktnet's
    in the namespace."""
    meshed = list(meshed)
    by_name = {each["metadata"]["name"]: parse_holding(each, now) for each in leases}
    members = []
    for mesh in meshed:
        gone = tuple(
            each
            for each in mesh.record.members
            if (each.holder == me or all_users)
            and _is_gone(by_name.get(each.session), is_mine=each.holder == me)
        )
        if gone:
            members.append((mesh, gone))
    needed = {each.record.router for each in meshed}
    unneeded = tuple(
        router["metadata"]["name"]
        for router in routers
        if router["metadata"]["name"] not in needed
        and _is_abandoned(router, leases, now, me=me, all_users=all_users)
    )
    return MeshLeftovers(tuple(members), unneeded)


def _is_gone(holding: Holding | None, *, is_mine: bool) -> bool:
    if holding is None:
        return True
    return not holding.is_live if is_mine else holding.is_abandoned


def _is_abandoned(
    router: Json, leases: Iterable[Json], now: datetime, *, me: str, all_users: bool
) -> bool:
    metadata = router["metadata"]
    is_mine = (metadata.get("annotations") or {}).get(HOLDER_ANNOTATION) == me
    if not (is_mine or all_users):
        return False
    own = [
        parse_holding(each, now)
        for each in leases
        if (each["metadata"].get("labels") or {}).get(ROUTER_LABEL) == metadata["name"]
    ]
    if not own:
        own = [_holding_since(metadata, now)]
    return all(_is_gone(each, is_mine=is_mine) for each in own)


def _holding_since(metadata: Json, now: datetime) -> Holding:
    """As if its making had been a renewal."""
    try:
        made = datetime.fromisoformat(metadata["creationTimestamp"])
    except (KeyError, TypeError, ValueError):
        return Holding(exists=True, duration_s=SILENCE_S)
    return Holding(exists=True, silent_s=(now - made).total_seconds(), duration_s=START_S)
