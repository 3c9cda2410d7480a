"""PodDisruptionBudgets: how many pods may be evicted, from what is there and what should be.

kubernetes.io/docs/tasks/run-application/configure-pdb/; as pkg/controller/disruption/disruption.go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from ktnet.lab.api.labelselector import matches
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import Action, SetStatus, apply_action, find
from ktnet.lab.controllers.kind import (
    Clock,
    Obj,
    condition_of,
    controller_of,
    drop_empty,
    format_time,
    is_being_deleted,
    is_ready_pod,
    labels_of,
    parse_time,
)
from ktnet.lab.controllers.loop import Key

DELETION_TIMEOUT_S = 120.0
"""So long an evicted pod counts as gone, though nobody has deleted it."""

SCALED = {"Deployment": "deployments", "ReplicaSet": "replicasets", "StatefulSet": "statefulsets"}

FindOwner = Callable[[Obj], Obj | None]
"""The controlling owner of an object, where it has replicas."""


class NoScale(Exception):
    """A pod's owner doesn't say how many there should be."""


def plan_budget(budget: Obj, pods: list[Obj], find_owner: FindOwner, now: datetime) -> list[Action]:
    """The budget's status, where it isn't so yet; `pods` are those of its namespace."""
    selector = budget["spec"].get("selector")
    mine = [pod for pod in pods if selector is not None and matches(selector, labels_of(pod))]
    disrupted = _list_disrupted(budget, mine, now)
    healthy = sum(
        is_ready_pod(pod) and not is_being_deleted(pod) and pod["metadata"]["name"] not in disrupted
        for pod in mine
    )
    try:
        expected, desired = count_desired(budget, mine, find_owner)
    except NoScale as error:
        status = {
            **budget["status"],
            "disruptionsAllowed": 0,
            "observedGeneration": budget["metadata"].get("generation", 1),
            "conditions": _build_conditions(budget, "False", "SyncFailed", str(error), now),
        }
    else:
        allowed = max(0, healthy - desired) if expected else 0
        verdict = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        status = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "disruptedPods": disrupted,
            "observedGeneration": budget["metadata"].get("generation", 1),
            "conditions": _build_conditions(budget, *verdict, "", now),
        }
    numbers = ("currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed")
    status = drop_empty(status, keep=numbers)
    unchanged = status == budget["status"]
    return [] if unchanged else [SetStatus("poddisruptionbudgets", budget, status)]


def count_desired(budget: Obj, pods: list[Obj], find_owner: FindOwner) -> tuple[int, int]:
    """How many pods there should be, and how many of them at least ready; raises NoScale."""
    spec = budget["spec"]
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most is not None:
        expected = count_expected(pods, find_owner)
        return expected, max(0, expected - _share(most, expected))
    if isinstance(least, str):
        expected = count_expected(pods, find_owner)
        return expected, _share(least, expected)
    return len(pods), int(least or 0)


def count_expected(pods: list[Obj], find_owner: FindOwner) -> int:
    """The replicas of all that the pods belong to; pods of nobody don't count."""
    replicas = {}
    for pod in pods:
        if controller_of(pod) is None:
            continue
        owner = find_owner(pod)
        if owner is None:
            raise NoScale(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        while (above := find_owner(owner)) is not None:
            owner = above
        replicas[owner["metadata"]["uid"]] = int(owner["spec"]["replicas"])
    return sum(replicas.values())


def _share(value: int | str, whole: int) -> int:
    return math.ceil(int(value[:-1]) * whole / 100) if isinstance(value, str) else value


def _list_disrupted(budget: Obj, pods: list[Obj], now: datetime) -> dict[str, str]:
    """Those whose eviction was granted and who aren't being deleted yet."""
    waiting = {pod["metadata"]["name"] for pod in pods if not is_being_deleted(pod)}
    oldest = now - timedelta(seconds=DELETION_TIMEOUT_S)
    return {
        name: since
        for name, since in (budget["status"].get("disruptedPods") or {}).items()
        if name in waiting and parse_time(since) > oldest
    }


def _build_conditions(
    budget: Obj, status: str, reason: str, message: str, now: datetime
) -> list[Obj]:
    known = condition_of(budget, "DisruptionAllowed")
    condition = {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "lastTransitionTime": format_time(now),
        "reason": reason,
        "message": message,
    }
    if known is not None and known["status"] == status:
        condition["lastTransitionTime"] = known["lastTransitionTime"]
    return [condition]


class DisruptionController:
    """Keeps the status of every PodDisruptionBudget."""

    watched = ("poddisruptionbudgets", "pods", *SCALED.values())

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        namespace = obj["metadata"]["namespace"]
        if plural == "poddisruptionbudgets":
            yield (namespace, obj["metadata"]["name"]), 0.0
            return
        for budget in self._store.list("poddisruptionbudgets", namespace):
            yield (namespace, budget["metadata"]["name"]), 0.0

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        budget = find(self._store, "poddisruptionbudgets", namespace, name)
        if budget is None or is_being_deleted(budget):
            return None
        pods = self._store.list("pods", namespace)
        for action in plan_budget(budget, pods, self._find_owner, self._clock()):
            apply_action(self._store, action)
        return DELETION_TIMEOUT_S if budget["status"].get("disruptedPods") else None

    def _find_owner(self, obj: Obj) -> Obj | None:
        reference = controller_of(obj)
        if reference is None or reference["kind"] not in SCALED:
            return None
        plural, namespace = SCALED[reference["kind"]], obj["metadata"]["namespace"]
        owner = find(self._store, plural, namespace, reference["name"])
        return owner if owner and owner["metadata"]["uid"] == reference["uid"] else None
