"""Deployments: one ReplicaSet for each template, replicas moved from the old ones to the new."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

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
    controller_of,
    is_being_deleted,
    is_controlled_by,
)
from ktnet.lab.controllers.loop import SEEN_AFTER_S, Key
from ktnet.lab.controllers.progress import build_created, build_status
from ktnet.lab.controllers.replicaset import plan_adoption
from ktnet.lab.controllers.rollout import (
    DESIRED,
    REVISION,
    build_annotations,
    build_replicaset,
    count_new,
    count_old,
    find_current,
    is_gone,
    revision_of,
)


def plan_deployment(
    deployment: Obj, replicasets: list[Obj], pods: list[Obj], now: datetime
) -> list[Action]:
    """What to do for a Deployment, given the ReplicaSets that it controls.

    `pods` are those of its namespace. Plans one step: what a step changes brings the next one.
    """
    current = find_current(deployment, replicasets)
    old = [each for each in replicasets if each is not current]
    actions: list[Action] = []
    if not is_being_deleted(deployment):
        if deployment["spec"].get("paused"):
            pass
        elif current is None:
            if _may_create(deployment, old, pods):
                current = build_replicaset(deployment, replicasets)
                # The counts come a step later, as a real controller's second write is refused: the
                # first made a new version (recorded in 04-watch/deployment-lifecycle-deployments).
                return [
                    Create("replicasets", deployment["metadata"]["namespace"], current),
                    _note_revision(deployment, current, build_created(deployment, current, now)),
                ]
            actions += [_scale(deployment, each, 0) for each in old if each["spec"]["replicas"]]
        else:
            actions += _plan_steps(deployment, current, old)
        if current is not None and revision_of(deployment) != revision_of(current):
            actions.append(_note_revision(deployment, current))
    status = build_status(deployment, current, replicasets, now)
    if status != deployment.get("status"):
        actions.append(SetStatus("deployments", deployment, status))
    return actions


def _note_revision(deployment: Obj, current: Obj, conditions: list[Obj] | None = None) -> Action:
    """By way of the status: on the object itself it would count as a new generation."""
    patch: Obj = {"metadata": {"annotations": {REVISION: str(revision_of(current))}}}
    if conditions is not None:
        patch["status"] = {"conditions": conditions}
    return build_merge("deployments", deployment, patch, subresource="status")


def _may_create(deployment: Obj, old: list[Obj], pods: list[Obj]) -> bool:
    return deployment["spec"]["strategy"]["type"] != "Recreate" or is_gone(old, pods)


def _plan_steps(deployment: Obj, current: Obj, old: list[Obj]) -> list[Action]:
    """The next step of a rollout, or of scaling: new ReplicaSet first, then the old ones."""
    replicas = current["spec"]["replicas"]
    wanted = count_new(deployment, replicas, [current, *old])
    remembered = (current["metadata"].get("annotations") or {}).get(DESIRED)
    if revision_of(current) < max(map(revision_of, old), default=0):
        newest = str(max(map(revision_of, old)) + 1)
        return [
            build_merge("replicasets", current, {"metadata": {"annotations": {REVISION: newest}}})
        ]
    if wanted != replicas or remembered != str(deployment["spec"]["replicas"]):
        return [_scale(deployment, current, wanted)]
    by_name = {each["metadata"]["name"]: each for each in old}
    steps: list[Action] = [
        _scale(deployment, by_name[name], count)
        for name, count in count_old(deployment, current, old).items()
    ]
    return steps or _plan_history(deployment, old)


def _scale(deployment: Obj, replicaset: Obj, replicas: int) -> Action:
    patch = {
        "metadata": {"annotations": build_annotations(deployment)},
        "spec": {"replicas": replicas},
    }
    return build_merge("replicasets", replicaset, patch)


def _plan_history(deployment: Obj, old: list[Obj]) -> list[Action]:
    """Deletes the oldest empty ReplicaSets beyond spec.revisionHistoryLimit."""
    empty = [
        each
        for each in old
        if not each["spec"]["replicas"]
        and not (each.get("status") or {}).get("replicas")
        and not is_being_deleted(each)
    ]
    surplus = len(empty) - deployment["spec"].get("revisionHistoryLimit", 10)
    return [
        build_delete("replicasets", each)
        for each in sorted(empty, key=revision_of)[: max(0, surplus)]
    ]


class DeploymentController:
    """Keeps every Deployment's ReplicaSets."""

    watched = ("deployments", "replicasets", "pods")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        namespace = obj["metadata"]["namespace"]
        if plural == "deployments":
            yield (namespace, obj["metadata"]["name"]), 0.0 if kind == "ADDED" else SEEN_AFTER_S
            return
        owner = controller_of(obj)
        if owner is None:
            if plural == "replicasets":
                for deployment in self._store.list("deployments", namespace):
                    yield (namespace, deployment["metadata"]["name"]), 0.0
        elif owner["kind"] == "Deployment":
            yield (namespace, owner["name"]), SEEN_AFTER_S
        elif owner["kind"] == "ReplicaSet" and kind == "DELETED":
            # Recreate waits for the last pod of the old template.
            replicaset = find(self._store, "replicasets", namespace, owner["name"])
            above = controller_of(replicaset) if replicaset else None
            if above is not None and above["kind"] == "Deployment":
                yield (namespace, above["name"]), 0.0

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        deployment = find(self._store, "deployments", namespace, name)
        if deployment is None:
            return None
        if not is_being_deleted(deployment):
            for action in plan_adoption(
                deployment, "replicasets", self._store.list("replicasets", namespace)
            ):
                apply_action(self._store, action)
        replicasets = [
            each
            for each in self._store.list("replicasets", namespace)
            if is_controlled_by(each, deployment)
        ]
        pods = self._store.list("pods", namespace)
        for action in plan_deployment(deployment, replicasets, pods, self._clock()):
            apply_action(self._store, action)
        return None
