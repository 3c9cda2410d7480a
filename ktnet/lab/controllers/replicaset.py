"""ReplicaSets: as many pods as they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from ktnet.lab.api.labelselector import matches
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import (
    Action,
    Create,
    SetStatus,
    apply_action,
    build_delete,
    build_merge,
    find,
)
from ktnet.lab.controllers.kind import (
    Clock,
    Obj,
    build_controller_reference,
    condition_of,
    controller_of,
    drop_empty,
    is_active_pod,
    is_being_deleted,
    is_controlled_by,
    is_finished_pod,
    is_ready_pod,
    labels_of,
    parse_time,
)
from ktnet.lab.controllers.loop import Key
from ktnet.lab.controllers.refusals import apply_for


def plan_adoption(owner: Obj, plural: str, candidates: Iterable[Obj]) -> list[Action]:
    """Gives each orphan that the owner's selector selects an owner, and frees what it lost.

    Only an object without any controlling owner is adopted; one whose labels left the selector
    is released.
    """
    actions: list[Action] = []
    reference = build_controller_reference(owner)
    for obj in candidates:
        selected = selects(owner, obj)
        others = obj["metadata"].get("ownerReferences") or []
        if selected and controller_of(obj) is None and not is_being_deleted(obj):
            patch = {"metadata": {"ownerReferences": [*others, reference]}}
            actions.append(build_merge(plural, obj, patch))
        elif not selected and is_controlled_by(obj, owner):
            rest = [each for each in others if each["uid"] != owner["metadata"]["uid"]]
            actions.append(
                build_merge(plural, obj, {"metadata": {"ownerReferences": rest or None}})
            )
    return actions


def selects(owner: Obj, obj: Obj) -> bool:
    """Whether the owner's selector takes it."""
    return matches(owner["spec"]["selector"], labels_of(obj))


def find_concerned(
    store: Store,
    owners: tuple[str, str],
    plural: str,
    obj: Obj,
    may_own: Callable[[Obj, Obj], bool],
) -> Iterator[Key]:
    """Which of these owners (plural, kind) are to look at a changed object.

    Itself, its owner, or those that may adopt it.
    """
    owners_plural, owners_kind = owners
    namespace = obj["metadata"]["namespace"]
    if plural == owners_plural:
        yield namespace, obj["metadata"]["name"]
    elif (owner := controller_of(obj)) is not None:
        if owner["kind"] == owners_kind:
            yield namespace, owner["name"]
    else:
        for each in store.list(owners_plural, namespace):
            if may_own(each, obj):
                yield namespace, each["metadata"]["name"]


def plan_replicaset(replicaset: Obj, pods: list[Obj], now: datetime) -> list[Action]:
    """What to do for a ReplicaSet, given the pods that it controls."""
    active = [pod for pod in pods if is_active_pod(pod)]
    actions: list[Action] = []
    if not is_being_deleted(replicaset):
        missing = replicaset["spec"]["replicas"] - len(active)
        create = Create("pods", replicaset["metadata"]["namespace"], build_pod(replicaset))
        actions += [create] * max(missing, 0)
        surplus = sorted(active, key=deletion_rank)[: max(-missing, 0)]
        actions += [build_delete("pods", pod) for pod in surplus]
    status = build_status(replicaset, pods, now)
    if status != replicaset.get("status"):
        actions.append(SetStatus("replicasets", replicaset, status))
    return actions


def build_pod(owner: Obj) -> Obj:
    """The pod of an owner's template: named after the owner, controlled by it."""
    template = owner["spec"]["template"]
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **{key: meta[key] for key in ("labels", "annotations") if meta.get(key)},
            "generateName": owner["metadata"]["name"] + "-",
            "namespace": owner["metadata"]["namespace"],
            "ownerReferences": [build_controller_reference(owner)],
        },
        "spec": template["spec"],
    }


def deletion_rank(pod: Obj) -> tuple[bool, int, bool, float]:
    """What goes first: not scheduled, then not running, then not ready, then the youngest."""
    phase = (pod.get("status") or {}).get("phase", "Pending")
    born = parse_time(pod["metadata"]["creationTimestamp"]).timestamp()
    return (
        bool(pod["spec"].get("nodeName")),
        {"Pending": 0, "Unknown": 1}.get(phase, 2),
        is_ready_pod(pod),
        -born,
    )


def available_in_s(pod: Obj, min_ready_s: int, now: datetime) -> float | None:
    """0 for a pod that is available, else the seconds until it is; None while it isn't ready."""
    ready = condition_of(pod, "Ready")
    if ready is None or ready["status"] != "True" or not min_ready_s:
        return 0.0 if is_ready_pod(pod) else None
    age_s = (now - parse_time(ready["lastTransitionTime"])).total_seconds()
    return max(0.0, min_ready_s - age_s)


def next_available_in_s(pods: list[Obj], min_ready_s: int, now: datetime) -> float | None:
    """Seconds until the next of them is available; None where none is on its way."""
    waits_s = [available_in_s(pod, min_ready_s, now) for pod in pods if is_active_pod(pod)]
    return min((each for each in waits_s if each), default=None)


def build_status(replicaset: Obj, pods: list[Obj], now: datetime) -> Obj:
    """The ReplicaSet's status, from the pods that it controls."""
    active = [pod for pod in pods if is_active_pod(pod)]
    wanted = (replicaset["spec"]["template"].get("metadata") or {}).get("labels") or {}
    min_ready_s = replicaset["spec"].get("minReadySeconds", 0)
    status = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(wanted.items() <= labels_of(pod).items() for pod in active),
        "readyReplicas": sum(is_ready_pod(pod) for pod in active),
        "availableReplicas": sum(available_in_s(pod, min_ready_s, now) == 0.0 for pod in active),
        "terminatingReplicas": sum(
            is_being_deleted(pod) and not is_finished_pod(pod) for pod in pods
        ),
        "observedGeneration": replicaset["metadata"].get("generation", 1),
    }
    return drop_empty(status, keep=("replicas", "terminatingReplicas"))


ADOPTED_AFTER_S = 0.5
"""A pod that nobody controls is looked at so much later, when it has a node: as it was recorded
(05-ownership/bare-pods-with-deployment-labels). A busy lab takes its time to give it one."""


class ReplicaSetController:
    """Keeps every ReplicaSet's pods."""

    watched = ("replicasets", "pods")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        owners = ("replicasets", "ReplicaSet")
        stray = plural == "pods" and controller_of(obj) is None
        for key in find_concerned(self._store, owners, plural, obj, selects):
            yield key, ADOPTED_AFTER_S if stray else 0.0

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        replicaset = find(self._store, "replicasets", namespace, name)
        if replicaset is None:
            return None
        if not is_being_deleted(replicaset):
            for action in plan_adoption(replicaset, "pods", self._store.list("pods", namespace)):
                apply_action(self._store, action)
        pods = [
            pod for pod in self._store.list("pods", namespace) if is_controlled_by(pod, replicaset)
        ]
        now = self._clock()
        for action in plan_replicaset(replicaset, pods, now):
            apply_for(self._store, replicaset, action, "replicaset-controller", now)
        return next_available_in_s(pods, replicaset["spec"].get("minReadySeconds", 0), now)
