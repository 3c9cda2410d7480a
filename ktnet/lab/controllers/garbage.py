"""The garbage collector: what lost its owner goes too.

kubernetes.io/docs/concepts/architecture/garbage-collection/: Background deletes the owner at once
and its dependents after; Foreground keeps the owner (finalizer `foregroundDeletion`) until the
dependents that block it are gone; Orphan (finalizer `orphan`) takes the references off them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from ktnet.lab.api.resources import RESOURCES
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import Action, apply_action, build_delete, build_merge, find
from ktnet.lab.controllers.kind import Obj, is_being_deleted
from ktnet.lab.controllers.loop import SEEN_AFTER_S, Key

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

PLURALS = {each.kind: each.plural for each in RESOURCES if each.stored}
"""Kinds that own; an owner of any other kind is taken to be there, as it can't be looked up."""

CLUSTER_WIDE = frozenset(each.kind for each in RESOURCES if not each.namespaced)


class Owner(enum.Enum):
    """What an owner reference points at."""

    SOLID = enum.auto()
    ABSENT = enum.auto()
    WAITING = enum.auto()
    """Being deleted in the foreground: it waits for its dependents."""


def plan_dependent(
    plural: str, obj: Obj, owners: list[tuple[Obj, Owner]], *, has_dependents: bool
) -> list[Action]:
    """What becomes of an object with owner references, each with what it points at."""
    if not owners or is_being_deleted(obj):
        return []
    states = [state for _, state in owners]
    if Owner.SOLID in states:
        solid = [reference for reference, state in owners if state is Owner.SOLID]
        if len(solid) == len(owners):
            return []
        return [build_merge(plural, obj, {"metadata": {"ownerReferences": solid}})]
    if Owner.WAITING in states and has_dependents:
        return [build_delete(plural, obj, propagation="Foreground")]
    return [build_delete(plural, obj, propagation="Background")]


def plan_owner(plural: str, owner: Obj, dependents: list[tuple[str, Obj]]) -> list[Action]:
    """What becomes of an owner that is being deleted under one of the two finalizers."""
    meta = owner["metadata"]
    finalizers = meta.get("finalizers") or []
    if not is_being_deleted(owner):
        return []
    if ORPHAN in finalizers:
        freed: list[Action] = []
        for kind, obj in dependents:
            rest = [
                each for each in obj["metadata"]["ownerReferences"] if each["uid"] != meta["uid"]
            ]
            freed.append(build_merge(kind, obj, {"metadata": {"ownerReferences": rest or None}}))
        return [*freed, _drop_finalizer(plural, owner, ORPHAN)]
    if FOREGROUND in finalizers:
        blocking = any(
            each["uid"] == meta["uid"] and each.get("blockOwnerDeletion")
            for _, obj in dependents
            for each in obj["metadata"]["ownerReferences"]
        )
        return [] if blocking else [_drop_finalizer(plural, owner, FOREGROUND)]
    return []


def _drop_finalizer(plural: str, obj: Obj, name: str) -> Action:
    rest = [each for each in obj["metadata"]["finalizers"] if each != name]
    return build_merge(plural, obj, {"metadata": {"finalizers": rest or None}})


class Graph:
    """Who owns whom: kept from the watches of all kinds."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str | None, str, tuple[str, ...]]] = {}
        self._dependents: dict[str, set[str]] = {}

    def put(self, plural: str, obj: Obj) -> None:
        meta = obj["metadata"]
        self.remove(meta["uid"])
        owners = tuple(each["uid"] for each in meta.get("ownerReferences") or [])
        self._known[meta["uid"]] = (plural, meta.get("namespace"), meta["name"], owners)
        for owner in owners:
            self._dependents.setdefault(owner, set()).add(meta["uid"])

    def remove(self, uid: str) -> None:
        _, _, _, owners = self._known.pop(uid, ("", None, "", ()))
        for owner in owners:
            dependents = self._dependents.get(owner, set())
            dependents.discard(uid)
            if not dependents:
                self._dependents.pop(owner, None)

    def owners(self, uid: str) -> tuple[str, ...]:
        return self._known[uid][3] if uid in self._known else ()

    def dependents(self, uid: str) -> list[str]:
        return sorted(self._dependents.get(uid, ()))

    def where(self, uid: str) -> tuple[str, str | None, str] | None:
        """(plural, namespace, name) of a known object."""
        known = self._known.get(uid)
        return known[:3] if known is not None else None


class GarbageCollector:
    """Its keys are uids: (None, uid)."""

    def __init__(self, store: Store) -> None:
        # Of custom resources, those that are defined before the controllers start.
        self.watched = tuple(each.key for each in store.catalog.list_stored())
        self._store = store
        self._graph = Graph()

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        uid = obj["metadata"]["uid"]
        before = self._graph.owners(uid)
        if kind == "DELETED":
            self._graph.remove(uid)
        else:
            self._graph.put(plural, obj)
            if obj["metadata"].get("ownerReferences") or is_being_deleted(obj):
                yield (None, uid), SEEN_AFTER_S
        if kind == "DELETED" or is_being_deleted(obj):
            for dependent in self._graph.dependents(uid):
                yield (None, dependent), SEEN_AFTER_S
        # An owner that waits for its dependents may go once this one is gone or freed.
        for owner in {*before, *self._graph.owners(uid)}:
            if self._graph.where(owner) is not None:
                yield (None, owner), SEEN_AFTER_S

    def reconcile(self, key: Key) -> float | None:
        place = self._graph.where(key[1])
        obj = self._find(place)
        if place is None or obj is None or obj["metadata"]["uid"] != key[1]:
            return None
        plural = place[0]
        dependents = [
            (where[0], found)
            for uid in self._graph.dependents(key[1])
            if (where := self._graph.where(uid)) is not None
            and (found := self._find(where)) is not None
            and found["metadata"]["uid"] == uid
        ]
        actions = plan_owner(plural, obj, dependents)
        if not actions:
            references = obj["metadata"].get("ownerReferences") or []
            owners = [(each, judge_owner(each, obj, self._find_owner)) for each in references]
            actions = plan_dependent(plural, obj, owners, has_dependents=bool(dependents))
        for action in actions:
            apply_action(self._store, action)
        return None

    def _find(self, place: tuple[str, str | None, str] | None) -> Obj | None:
        return find(self._store, *place) if place is not None else None

    def _find_owner(self, plural: str, namespace: str | None, name: str) -> Obj | None:
        return find(self._store, plural, namespace, name)


def judge_owner(
    reference: Obj, dependent: Obj, look_up: Callable[[str, str | None, str], Obj | None]
) -> Owner:
    """What a reference points at: the uid counts, not the name."""
    kind = reference["kind"]
    if kind not in PLURALS:
        return Owner.SOLID
    namespace = None if kind in CLUSTER_WIDE else dependent["metadata"].get("namespace")
    owner = look_up(PLURALS[kind], namespace, reference["name"])
    if owner is None or owner["metadata"]["uid"] != reference["uid"]:
        return Owner.ABSENT
    if is_being_deleted(owner) and FOREGROUND in (owner["metadata"].get("finalizers") or []):
        return Owner.WAITING
    return Owner.SOLID
