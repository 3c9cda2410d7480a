"""StatefulSets: pods with lasting names, made in order, ended in reverse, replaced one by one.

What real ones do: pkg/controller/statefulset/stateful_set_control.go. Volume claims aren't made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import (
    Action,
    Create,
    SetStatus,
    apply_action,
    build_delete,
    find,
)
from ktnet.lab.controllers.kind import (
    Clock,
    Obj,
    drop_empty,
    is_active_pod,
    is_being_deleted,
    is_controlled_by,
    is_finished_pod,
    is_ready_pod,
    labels_of,
)
from ktnet.lab.controllers.loop import Key
from ktnet.lab.controllers.refusals import apply_for
from ktnet.lab.controllers.replicaset import (
    available_in_s,
    build_pod,
    find_concerned,
    next_available_in_s,
    plan_adoption,
    selects,
)
from ktnet.lab.controllers.revisions import (
    POD_LABEL,
    Revisions,
    plan_history,
    plan_revisions,
    read_template,
)

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"

_ORDINAL = re.compile(r"(.*)-([0-9]+)")


def parse_ordinal(statefulset: Obj, pod: Obj) -> int | None:
    """The N of the pod NAME-N; None where its name isn't one of this StatefulSet's."""
    found = _ORDINAL.fullmatch(pod["metadata"]["name"])
    if found is None or found[1] != statefulset["metadata"]["name"]:
        return None
    return int(found[2])


def _may_own(statefulset: Obj, pod: Obj) -> bool:
    return parse_ordinal(statefulset, pod) is not None and selects(statefulset, pod)


def plan_statefulset(
    statefulset: Obj, pods: list[Obj], revisions: Revisions, now: datetime
) -> list[Action]:
    """The next step, given the pods that the StatefulSet controls."""
    actions = [] if is_being_deleted(statefulset) else _plan_pods(statefulset, pods, revisions, now)
    status = build_status(statefulset, pods, revisions, now)
    if status != statefulset.get("status"):
        actions.append(SetStatus("statefulsets", statefulset, status))
    return actions


def _plan_pods(
    statefulset: Obj, pods: list[Obj], revisions: Revisions, now: datetime
) -> list[Action]:
    by_ordinal = {parse_ordinal(statefulset, pod): pod for pod in pods}
    wanted = _list_ordinals(statefulset)
    ordered = statefulset["spec"]["podManagementPolicy"] == "OrderedReady"
    actions: list[Action] = []
    for ordinal in wanted:
        pod = by_ordinal.get(ordinal)
        if pod is None:
            template = _choose_template(statefulset, revisions, ordinal)
            new = build_ordinal_pod(statefulset, template, ordinal)
            actions.append(Create("pods", statefulset["metadata"]["namespace"], new))
            if ordered:
                return actions
        elif is_finished_pod(pod):
            # It is made anew once it is gone, since it has the name.
            return actions if is_being_deleted(pod) else [*actions, build_delete("pods", pod)]
        elif ordered and not _is_available(statefulset, pod, now):
            return actions
    surplus = [ordinal for ordinal in by_ordinal if ordinal not in wanted and ordinal is not None]
    going = [by_ordinal[ordinal] for ordinal in sorted(surplus, reverse=True)]
    if ordered and going:
        return actions + _plan_descent(statefulset, going, now)
    actions += [build_delete("pods", pod) for pod in going if not is_being_deleted(pod)]
    return actions or _plan_replacement(statefulset, by_ordinal, wanted, revisions, now)


def _list_ordinals(statefulset: Obj) -> range:
    spec = statefulset["spec"]
    start = (spec.get("ordinals") or {}).get("start", 0)
    return range(start, start + spec["replicas"])


def _is_available(statefulset: Obj, pod: Obj, now: datetime) -> bool:
    """Running, ready for minReadySeconds, and not about to end."""
    min_ready_s = statefulset["spec"].get("minReadySeconds", 0)
    return is_active_pod(pod) and available_in_s(pod, min_ready_s, now) == 0.0


def _plan_descent(statefulset: Obj, going: list[Obj], now: datetime) -> list[Action]:
    """Highest first, the next only when that one is gone; one that isn't available waits for
    those below it that aren't either."""
    last, *below = going
    if is_being_deleted(last):
        return []
    available = [_is_available(statefulset, pod, now) for pod in below]
    may_go = _is_available(statefulset, last, now) or all(available)
    return [build_delete("pods", last)] if may_go else []


def _plan_replacement(
    statefulset: Obj,
    by_ordinal: dict[int | None, Obj],
    wanted: range,
    revisions: Revisions,
    now: datetime,
) -> list[Action]:
    """One pod of a former template ends, the highest first, if all above it are available."""
    strategy = statefulset["spec"]["updateStrategy"]
    if strategy["type"] == "OnDelete":
        return []
    first = wanted.start + (strategy.get("rollingUpdate") or {}).get("partition", 0)
    update = revisions.update["metadata"]["name"]
    for ordinal in reversed(range(first, wanted.stop)):
        pod = by_ordinal[ordinal]
        if labels_of(pod).get(POD_LABEL) != update and not is_being_deleted(pod):
            return [build_delete("pods", pod)]
        if not _is_available(statefulset, pod, now):
            return []
    return []


def _choose_template(statefulset: Obj, revisions: Revisions, ordinal: int) -> Obj:
    """The revision of a pod that is made anew: below the partition it stays as it was."""
    strategy = statefulset["spec"]["updateStrategy"]
    if strategy["type"] != "RollingUpdate":
        return revisions.update
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    below = ordinal < _list_ordinals(statefulset).start + partition
    return revisions.current if below else revisions.update


def build_ordinal_pod(statefulset: Obj, revision: Obj, ordinal: int) -> Obj:
    """The pod NAME-N: the template's, with its name as its hostname below the Service's."""
    spec = statefulset["spec"]
    template = read_template(revision)
    pod = build_pod({**statefulset, "spec": {**spec, "template": template}})
    name = f"{statefulset['metadata']['name']}-{ordinal}"
    return {
        **pod,
        "metadata": {
            **pod["metadata"],
            "name": name,
            "labels": {
                **labels_of(pod),
                NAME_LABEL: name,
                INDEX_LABEL: str(ordinal),
                POD_LABEL: revision["metadata"]["name"],
            },
        },
        "spec": {
            **pod["spec"],
            "hostname": name,
            **({"subdomain": spec["serviceName"]} if spec.get("serviceName") else {}),
        },
    }


def build_status(statefulset: Obj, pods: list[Obj], revisions: Revisions, now: datetime) -> Obj:
    """The StatefulSet's status (recorded in 03-defaulting/statefulset-read-back)."""
    current = revisions.current["metadata"]["name"]
    update = revisions.update["metadata"]["name"]
    min_ready_s = statefulset["spec"].get("minReadySeconds", 0)
    ready = [pod for pod in pods if is_ready_pod(pod)]
    made = [labels_of(pod).get(POD_LABEL) for pod in pods if not is_being_deleted(pod)]
    counts = {
        "replicas": len(pods),
        "readyReplicas": len(ready),
        "currentReplicas": made.count(current),
        "updatedReplicas": made.count(update),
        "availableReplicas": sum(available_in_s(pod, min_ready_s, now) == 0.0 for pod in ready),
    }
    rolling = statefulset["spec"]["updateStrategy"]["type"] == "RollingUpdate"
    if rolling and counts["updatedReplicas"] == len(pods) == counts["readyReplicas"]:
        current = update
        counts["currentReplicas"] = counts["updatedReplicas"]
    status = {
        "observedGeneration": statefulset["metadata"].get("generation", 1),
        **counts,
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": 0,
    }
    return drop_empty(status, keep=("replicas", "availableReplicas", "collisionCount"))


class StatefulSetController:
    """Keeps every StatefulSet's pods and revisions."""

    watched = ("statefulsets", "pods")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        owners = ("statefulsets", "StatefulSet")
        for key in find_concerned(self._store, owners, plural, obj, _may_own):
            yield key, 0.0

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        statefulset = find(self._store, "statefulsets", namespace, name)
        if statefulset is None:
            return None
        if not is_being_deleted(statefulset):
            listed = self._store.list("pods", namespace)
            named = [pod for pod in listed if parse_ordinal(statefulset, pod) is not None]
            kept = self._store.list("controllerrevisions", namespace)
            for action in (
                *plan_adoption(statefulset, "pods", named),
                *plan_adoption(statefulset, "controllerrevisions", kept),
            ):
                apply_action(self._store, action)
        pods = self._list_own("pods", statefulset)
        known = self._list_own("controllerrevisions", statefulset)
        now = self._clock()
        revisions = plan_revisions(statefulset, known)
        live = {each["metadata"]["name"] for each in (revisions.current, revisions.update)}
        for action in (
            *([] if is_being_deleted(statefulset) else revisions.actions),
            *plan_statefulset(statefulset, pods, revisions, now),
            *plan_history(statefulset, known, pods, live),
        ):
            apply_for(self._store, statefulset, action, "statefulset-controller", now)
        min_ready_s = statefulset["spec"].get("minReadySeconds", 0)
        return next_available_in_s(pods, min_ready_s, now)

    def _list_own(self, plural: str, owner: Obj) -> list[Obj]:
        objects = self._store.list(plural, owner["metadata"]["namespace"])
        return [each for each in objects if is_controlled_by(each, owner)]
