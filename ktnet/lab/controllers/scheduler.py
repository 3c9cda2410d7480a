"""The scheduler: gives each pod a node, or says why it can't."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import Action, apply_action, build_merge, find
from ktnet.lab.controllers.kind import (
    Clock,
    Obj,
    condition_of,
    format_time,
    is_being_deleted,
    is_true,
    labels_of,
)
from ktnet.lab.controllers.loop import Key

CORDONED, CORDON = "node.kubernetes.io/unschedulable", "NoSchedule"
"""The taint of a node that is cordoned; a pod may tolerate it."""


def plan_scheduling(pod: Obj, nodes: list[Obj], now: datetime) -> list[Action]:
    """Binds a pod to the first node that it may run on, or marks it as unschedulable."""
    against = [find_obstacle(pod, node) for node in nodes]
    if None in against:
        name = nodes[against.index(None)]["metadata"]["name"]
        return [build_merge("pods", pod, {"spec": {"nodeName": name}}, subresource="binding")]
    reasons = ", ".join(sorted(f"{against.count(why)} {why}" for why in {*against} if why))
    message = (
        f"0/{len(nodes)} nodes are available: {reasons}. no new claims to deallocate, preemption: "
        f"0/{len(nodes)} nodes are available: {len(nodes)} Preemption is not helpful for "
        "scheduling."
    )
    known = condition_of(pod, "PodScheduled")
    if known is not None and known.get("message") == message:
        return []
    failed = {
        "type": "PodScheduled",
        "observedGeneration": pod["metadata"].get("generation", 1),
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": format_time(now),
        "reason": "Unschedulable",
        "message": message,
    }
    others = [
        each
        for each in (pod.get("status") or {}).get("conditions") or []
        if each["type"] != "PodScheduled"
    ]
    patch = {"status": {"conditions": [*others, failed]}}
    return [build_merge("pods", pod, patch, subresource="status")]


def find_obstacle(pod: Obj, node: Obj) -> str | None:
    """Why a pod can't run on a node, in the words of the scheduler's plugins."""
    if node["spec"].get("unschedulable") and not any(
        each.get("key", CORDONED) == CORDONED and each.get("effect", CORDON) == CORDON
        for each in pod["spec"].get("tolerations") or []
    ):
        return "node(s) were unschedulable"
    wanted = pod["spec"].get("nodeSelector") or {}
    if not wanted.items() <= labels_of(node).items():
        return "node(s) didn't match Pod's node affinity/selector"
    return None


class Scheduler:
    """Looks at every pod without a node, again whenever a node changes."""

    watched = ("pods", "nodes")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        pods = [obj] if plural == "pods" else self._store.list("pods")
        for pod in pods:
            if not pod["spec"].get("nodeName"):
                yield (pod["metadata"]["namespace"], pod["metadata"]["name"]), 0.0

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        pod = find(self._store, "pods", namespace, name)
        if pod is None or pod["spec"].get("nodeName") or is_being_deleted(pod):
            return None
        nodes = [node for node in self._store.list("nodes") if is_true(node, "Ready")]
        for action in plan_scheduling(pod, nodes, self._clock()):
            apply_action(self._store, action)
        return None
