"""Budgets are counted from pods and their owners; evictions are counted against them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ktnet.lab.api.deletion import DeleteOptions
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.eviction import evict, parse_eviction
from ktnet.lab.api.store import Store
from ktnet.lab.cluster import fill_store
from ktnet.lab.controllers.disruption import DisruptionController
from ktnet.lab.controllers.statefulset import StatefulSetController
from ktnet.lab.faults.cluster import ClusterFaults

Obj = dict[str, Any]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LABELS = {"app": "db"}


class Scene:
    """Three ready pods of a StatefulSet, and a budget for them."""

    def __init__(self, **budget: Any) -> None:
        self.now = NOW
        self.store = Store(clock=lambda: self.now)
        fill_store(self.store, "the CA")
        template = {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "main", "image": "db:1"}]},
        }
        spec = {
            "replicas": 3,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": LABELS},
            "template": template,
        }
        self.store.create("statefulsets", "default", {"metadata": {"name": "db"}, "spec": spec})
        StatefulSetController(self.store, lambda: self.now).reconcile(("default", "db"))
        for number in range(3):
            bound = {"spec": {"nodeName": "lab-node"}}
            name = f"db-{number}"
            self.store.patch("pods", "default", name, bound, subresource="binding")
            self.set_ready(name)
        if budget:
            spec = {"selector": {"matchLabels": LABELS}, **budget}
            meta = {"name": "guard"}
            self.store.create("poddisruptionbudgets", "default", {"metadata": meta, "spec": spec})

    def set_ready(self, name: str, *, ready: bool = True, phase: str = "Running") -> None:
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": None}
        status = {"phase": phase, "conditions": [condition]}
        self.store.patch("pods", "default", name, {"status": status}, subresource="status")

    def count(self) -> Obj:
        """The budget's status, as the controller makes it."""
        DisruptionController(self.store, lambda: self.now).reconcile(("default", "guard"))
        return dict(self.store.get("poddisruptionbudgets", "default", "guard")["status"])

    def allowed(self) -> int:
        return int(self.count()["disruptionsAllowed"])

    def evict(self, name: str, *, dry_run: bool = False, **options: Any) -> None:
        asked = DeleteOptions(**options)
        evict(self.store, "default", name, asked, self.now, dry_run=dry_run)

    def pod(self, name: str) -> Obj:
        return dict(self.store.get("pods", "default", name))


@pytest.mark.parametrize(
    ("budget", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 2, 1),
        ({"minAvailable": 3}, 3, 0),
        ({"minAvailable": "50%"}, 2, 1),
        ({"minAvailable": 0}, 0, 3),
        ({"maxUnavailable": 1}, 2, 1),
        ({"maxUnavailable": "34%"}, 1, 2),
        ({"maxUnavailable": 9}, 0, 3),
    ],
)
def test_how_many_may_go(budget: Obj, desired: int, allowed: int) -> None:
    status = Scene(**budget).count()
    assert (status["desiredHealthy"], status["disruptionsAllowed"]) == (desired, allowed)
    assert (status["currentHealthy"], status["expectedPods"]) == (3, 3)
    (condition,) = status["conditions"]
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")


def test_pods_that_are_not_ready_are_missing() -> None:
    scene = Scene(maxUnavailable=1)
    scene.set_ready("db-0", ready=False)
    assert scene.count()["currentHealthy"] == 2
    assert scene.allowed() == 0


def test_owners_without_replicas_allow_nothing() -> None:
    scene = Scene(maxUnavailable=1)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": True}
    patch = {"metadata": {"ownerReferences": [owner]}}
    scene.store.patch("pods", "default", "db-0", patch)
    status = scene.count()
    assert (status["disruptionsAllowed"], status["conditions"][0]["reason"]) == (0, "SyncFailed")


def test_without_a_budget_an_eviction_is_a_marked_deletion_with_grace() -> None:
    scene = Scene()
    scene.evict("db-0")
    pod = scene.pod("db-0")
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    target = next(c for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert (target["status"], target["reason"]) == ("True", "EvictionByEvictionAPI")
    scene.evict("db-0", grace_s=1)
    assert scene.pod("db-0")["metadata"]["deletionGracePeriodSeconds"] == 1


def test_a_budget_is_spent_at_once_and_forbids_the_next() -> None:
    scene = Scene(minAvailable=2)
    scene.count()
    scene.evict("db-0")
    with pytest.raises(ApiError) as caught:
        scene.evict("db-1")  # before the controller has counted
    assert caught.value.status == 429
    assert scene.allowed() == 0
    with pytest.raises(ApiError) as caught:
        scene.evict("db-1")
    body = caught.value.body()
    assert body["reason"] == "TooManyRequests"
    assert body["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    (cause,) = body["details"]["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert (
        cause["message"] == "The disruption budget guard needs 2 healthy pods and has 2 currently"
    )
    assert "deletionTimestamp" not in scene.pod("db-1")["metadata"]


def test_a_budget_that_nobody_has_counted_yet_forbids_for_now() -> None:
    with pytest.raises(ApiError) as caught:
        Scene(minAvailable=1).evict("db-0")
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "10"})


def test_a_dry_run_changes_nothing() -> None:
    scene = Scene(minAvailable=2)
    scene.count()
    scene.evict("db-0", dry_run=True)
    assert scene.allowed() == 1
    assert "deletionTimestamp" not in scene.pod("db-0")["metadata"]


def test_pods_that_serve_nobody_may_go_unless_too_few_others_do() -> None:
    scene = Scene(minAvailable=2)
    scene.set_ready("db-0", ready=False)
    scene.count()
    scene.evict("db-0")
    scene = Scene(minAvailable=3)
    scene.set_ready("db-0", ready=False)
    scene.count()
    with pytest.raises(ApiError):
        scene.evict("db-0")
    scene = Scene(minAvailable=3, unhealthyPodEvictionPolicy="AlwaysAllow")
    scene.set_ready("db-0", ready=False)
    scene.count()
    scene.evict("db-0")
    scene = Scene(minAvailable=3)
    scene.set_ready("db-0", ready=False, phase="Pending")
    scene.count()
    scene.evict("db-0")


def test_two_budgets_for_one_pod_are_refused() -> None:
    scene = Scene(minAvailable=1)
    spec = {"selector": {}, "maxUnavailable": 1}
    other = {"metadata": {"name": "other"}, "spec": spec}
    scene.store.create("poddisruptionbudgets", "default", other)
    scene.count()
    with pytest.raises(ApiError) as caught:
        scene.evict("db-0")
    assert caught.value.status == 500


def test_an_eviction_that_was_granted_and_never_made_is_forgotten() -> None:
    scene = Scene(minAvailable=2)
    scene.count()
    since = {"disruptedPods": {"db-0": "2026-01-02T03:04:05Z"}}
    scene.store.patch(
        "poddisruptionbudgets", "default", "guard", {"status": since}, subresource="status"
    )
    assert scene.allowed() == 0
    scene.now += timedelta(seconds=121)
    assert scene.allowed() == 1


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"kind": "Pod"},
        {"apiVersion": "policy/v9"},
        {"metadata": {"name": "another"}},
        {"deleteOptions": {"gracePeriodSeconds": "soon"}},
        {"deleteOptions": 7},
    ],
)
def test_what_is_no_eviction_is_refused(body: Any) -> None:
    with pytest.raises(ApiError) as caught:
        parse_eviction("db-0", json.loads(json.dumps(body)), {})
    assert caught.value.status == 400


def test_a_drain_cordons_and_evicts_and_says_who_stays() -> None:
    scene = Scene(minAvailable=2)
    scene.count()
    faults = ClusterFaults(scene.store)
    answer = asyncio.run(faults.drain({}))
    assert answer["nodes"] == ["lab-node"]
    assert answer["evicted"] == ["default/db-0"]
    assert answer["refused"].keys() == {"default/db-1", "default/db-2"}
    assert scene.store.get("nodes", None, "lab-node")["spec"]["unschedulable"]
    assert asyncio.run(faults.uncordon({})) == {"nodes": ["lab-node"]}
    assert "unschedulable" not in scene.store.get("nodes", None, "lab-node")["spec"]


def test_faults_without_anybody_to_happen_to_are_refused() -> None:
    faults = ClusterFaults(Scene().store)
    for fault, arguments in (
        (faults.evict, {}),
        (faults.delete, {"pod": "default/nobody"}),
        (faults.drain, {"node": "nowhere"}),
    ):
        with pytest.raises(ValueError, match="there is no"):
            asyncio.run(fault(arguments))
