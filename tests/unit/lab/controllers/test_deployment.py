"""A Deployment's rollouts, scaling and status, step by step as a real controller takes them."""

import copy
from datetime import UTC, datetime
from typing import Any

from ktnet.lab.controllers.action import Create, Delete, Merge, SetStatus
from ktnet.lab.controllers.deployment import plan_deployment
from ktnet.lab.controllers.rollout import Bounds, build_bounds, count_old, hash_template

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Obj = dict[str, Any]


def build_deployment(replicas: int = 1, image: str = "one", **spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "demo", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
            },
            "revisionHistoryLimit": 10,
            **spec,
        },
        "status": {},
    }


class Cluster:
    """A Deployment and its ReplicaSets, to which plans are applied."""

    def __init__(self, deployment: Obj) -> None:
        self.deployment = deployment
        self.replicasets: dict[str, Obj] = {}
        self.pods: list[Obj] = []

    def step(self) -> list[Any]:
        actions = plan_deployment(self.deployment, list(self.replicasets.values()), self.pods, NOW)
        for action in actions:
            match action:
                case Create():
                    name = action.obj["metadata"]["name"]
                    meta = {
                        "uid": name,
                        "creationTimestamp": f"2026-01-01T00:00:{len(self.replicasets):02}Z",
                    }
                    action.obj["metadata"] |= meta
                    # A copy, as the API server makes one.
                    self.replicasets[name] = copy.deepcopy(
                        {**action.obj, "status": {"replicas": 0}}
                    )
                case Merge(plural="replicasets"):
                    known = self.replicasets[action.name]
                    known["metadata"]["annotations"] |= action.patch["metadata"]["annotations"]
                    known["spec"] |= action.patch.get("spec", {})
                case Merge():
                    self.deployment["metadata"].setdefault("annotations", {}).update(
                        action.patch["metadata"]["annotations"]
                    )
                    self.deployment["status"] |= action.patch.get("status", {})
                case SetStatus():
                    self.deployment["status"] = action.status
                case Delete():
                    del self.replicasets[action.name]
        return actions

    def settle(self) -> list[tuple[int, ...]]:
        """Steps until nothing changes; the replicas wanted after each step."""
        seen = []
        for _ in range(40):
            acted = self.step()
            seen.append(self.wanted())
            before = {name: dict(each["status"]) for name, each in self.replicasets.items()}
            for each in self.replicasets.values():
                count = each["spec"]["replicas"]
                each["status"] = {
                    "replicas": count,
                    "readyReplicas": count,
                    "availableReplicas": count,
                }
            if not acted and before == {n: e["status"] for n, e in self.replicasets.items()}:
                return seen
        raise AssertionError("it never settles")

    def wanted(self) -> tuple[int, ...]:
        return tuple(each["spec"]["replicas"] for each in self.replicasets.values())

    def condition(self, kind: str) -> Obj:
        return next(c for c in self.deployment["status"]["conditions"] if c["type"] == kind)


def test_the_first_step_creates_the_replicaset() -> None:
    cluster = Cluster(build_deployment(2))
    create = next(action for action in cluster.step() if isinstance(action, Create))
    template_hash = create.obj["metadata"]["labels"]["pod-template-hash"]
    assert create.obj["metadata"]["name"] == f"web-{template_hash}"
    assert create.obj["metadata"]["annotations"] == {
        "deployment.kubernetes.io/desired-replicas": "2",
        "deployment.kubernetes.io/max-replicas": "3",
        "deployment.kubernetes.io/revision": "1",
    }
    assert create.obj["spec"]["replicas"] == 2
    assert create.obj["spec"]["selector"]["matchLabels"]["pod-template-hash"] == template_hash
    assert create.obj["spec"]["template"]["metadata"]["labels"] == {
        "app": "web",
        "pod-template-hash": template_hash,
    }
    assert cluster.deployment["metadata"]["annotations"] == {
        "deployment.kubernetes.io/revision": "1"
    }
    assert cluster.condition("Progressing")["reason"] == "NewReplicaSetCreated"
    assert "observedGeneration" not in cluster.deployment["status"]
    cluster.step()
    assert cluster.condition("Available")["status"] == "False"


def test_a_settled_deployment_says_so() -> None:
    cluster = Cluster(build_deployment(2))
    cluster.settle()
    status = cluster.deployment["status"]
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "terminatingReplicas": 0,
    }
    assert cluster.condition("Progressing")["reason"] == "NewReplicaSetAvailable"
    assert cluster.condition("Available")["reason"] == "MinimumReplicasAvailable"


def test_a_rollout_surges_then_sheds() -> None:
    cluster = Cluster(build_deployment(4))
    cluster.settle()
    cluster.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "two"
    seen = cluster.settle()
    assert seen[0] == (4, 1)
    assert seen[-1] == (0, 4)
    assert all(3 <= old + new <= 5 for old, new in seen)
    assert cluster.deployment["metadata"]["annotations"] == {
        "deployment.kubernetes.io/revision": "2"
    }


def test_going_back_reuses_the_replicaset_under_a_new_revision() -> None:
    cluster = Cluster(build_deployment(1))
    cluster.settle()
    for image in ("two", "one"):
        cluster.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
        cluster.settle()
    assert cluster.wanted() == (1, 0)
    assert cluster.deployment["metadata"]["annotations"] == {
        "deployment.kubernetes.io/revision": "3"
    }


def test_scaling_to_zero_and_back() -> None:
    cluster = Cluster(build_deployment(1))
    cluster.settle()
    cluster.deployment["spec"]["replicas"] = 0
    cluster.settle()
    assert cluster.wanted() == (0,)
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.deployment["status"] == {
        "observedGeneration": 1,
        "terminatingReplicas": 0,
        "conditions": cluster.deployment["status"]["conditions"],
    }
    cluster.deployment["spec"]["replicas"] = 1
    cluster.step()
    assert cluster.wanted() == (1,)
    assert cluster.condition("Available")["status"] == "False"


def test_recreate_waits_for_the_last_old_pod() -> None:
    cluster = Cluster(build_deployment(1, strategy={"type": "Recreate"}))
    cluster.settle()
    (old,) = cluster.replicasets.values()
    cluster.pods = [
        {
            "metadata": {"name": "p", "ownerReferences": [{"uid": old["metadata"]["uid"]}]},
            "status": {"phase": "Running"},
        }
    ]
    cluster.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "two"
    cluster.step()
    assert cluster.wanted() == (0,)
    cluster.step()
    assert len(cluster.replicasets) == 1
    cluster.pods = []
    cluster.settle()
    assert cluster.wanted() == (0, 1)


def test_history_is_limited() -> None:
    cluster = Cluster(build_deployment(1, revisionHistoryLimit=1))
    for image in ("one", "two", "three", "four"):
        cluster.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
        cluster.settle()
    assert cluster.wanted() == (0, 1)


def test_a_paused_or_dying_deployment_does_nothing() -> None:
    for change in ({"paused": True}, None):
        deployment = build_deployment(1)
        if change:
            deployment["spec"] |= change
        else:
            deployment["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
        actions = plan_deployment(deployment, [], [], NOW)
        assert all(isinstance(action, SetStatus) for action in actions)


def test_bounds_round_apart_and_are_never_both_zero() -> None:
    assert build_bounds(build_deployment(10)) == Bounds(3, 2)
    assert build_bounds(build_deployment(1)) == Bounds(1, 0)
    strict = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}
    assert build_bounds(build_deployment(5, strategy=strict)) == Bounds(0, 1)


def test_what_serves_nobody_goes_first() -> None:
    def replicaset(name: str, replicas: int, available: int) -> Obj:
        return {
            "metadata": {"name": name},
            "spec": {"replicas": replicas},
            "status": {"availableReplicas": available},
        }

    wanted = count_old(
        build_deployment(4),
        replicaset("new", 1, 0),
        [replicaset("broken", 2, 0), replicaset("good", 2, 2)],
    )
    assert wanted == {"broken": 1}


def test_the_hash_follows_the_template_only() -> None:
    one = build_deployment(1)["spec"]["template"]
    assert hash_template(one) == hash_template(build_deployment(9)["spec"]["template"])
    assert hash_template(one) != hash_template(build_deployment(1, "two")["spec"]["template"])
    assert set(hash_template(one)) <= set("bcdfghjklmnpqrstvwxz2456789")
