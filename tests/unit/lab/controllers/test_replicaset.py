"""A ReplicaSet has as many pods as it asks for, and says so."""

from datetime import UTC, datetime, timedelta
from typing import Any

from ktnet.lab.controllers.action import Create, Delete, Merge, SetStatus
from ktnet.lab.controllers.replicaset import deletion_rank, plan_adoption, plan_replicaset

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def build_replicaset(replicas: int, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web-abc", "namespace": "demo", "uid": "rs", "generation": 3},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"note": "x"}},
                "spec": {"containers": [{"name": "main", "image": "lab/http-echo:1"}]},
            },
            **spec,
        },
        "status": {},
    }


def build_pod(name: str, *, ready: bool = True, age_s: float = 100, **meta: Any) -> dict[str, Any]:
    moment = (NOW - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {
            "name": name,
            "namespace": "demo",
            "uid": name,
            "creationTimestamp": moment,
            "labels": {"app": "web"},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "web-abc", "uid": "rs", "controller": True}
            ],
            **meta,
        },
        "spec": {"nodeName": "lab-node", "containers": []},
        "status": {
            "phase": "Running",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": moment,
                }
            ],
        },
    }


def find_status(actions: list[Any]) -> dict[str, Any]:
    return next(action.status for action in actions if isinstance(action, SetStatus))


def test_missing_pods_are_created_from_the_template() -> None:
    actions = plan_replicaset(build_replicaset(2), [], NOW)
    created = [action for action in actions if isinstance(action, Create)]
    assert len(created) == 2
    pod = created[0].obj
    assert pod["metadata"]["generateName"] == "web-abc-"
    assert pod["metadata"]["labels"] == {"app": "web"}
    assert pod["metadata"]["annotations"] == {"note": "x"}
    assert pod["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "web-abc",
            "uid": "rs",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert pod["spec"]["containers"][0]["image"] == "lab/http-echo:1"
    assert find_status(actions) == {
        "replicas": 0,
        "terminatingReplicas": 0,
        "observedGeneration": 3,
    }


def test_surplus_goes_by_rank_and_with_its_uid() -> None:
    waiting = build_pod("waiting", ready=False)
    waiting["spec"].pop("nodeName")
    waiting["status"]["phase"] = "Pending"
    pods = [build_pod("old"), build_pod("young", age_s=1), waiting, build_pod("sick", ready=False)]
    assert [pod["metadata"]["name"] for pod in sorted(pods, key=deletion_rank)] == [
        "waiting",
        "sick",
        "young",
        "old",
    ]
    deleted = [a for a in plan_replicaset(build_replicaset(1), pods, NOW) if isinstance(a, Delete)]
    assert [(action.name, action.uid) for action in deleted] == [
        ("waiting", "waiting"),
        ("sick", "sick"),
        ("young", "young"),
    ]


def test_a_terminating_pod_is_replaced_at_once_and_counted_apart() -> None:
    ending = build_pod("ending", deletionTimestamp="2026-01-02T03:04:35Z")
    actions = plan_replicaset(build_replicaset(1), [ending], NOW)
    assert sum(isinstance(action, Create) for action in actions) == 1
    assert find_status(actions)["terminatingReplicas"] == 1
    ending["status"]["phase"] = "Failed"
    assert find_status(plan_replicaset(build_replicaset(0), [ending], NOW)) == {
        "replicas": 0,
        "terminatingReplicas": 0,
        "observedGeneration": 3,
    }


def test_available_comes_min_ready_seconds_after_ready() -> None:
    pods = [build_pod("early", age_s=5), build_pod("late", age_s=20)]
    status = find_status(plan_replicaset(build_replicaset(2, minReadySeconds=10), pods, NOW))
    assert status["readyReplicas"] == 2
    assert status["availableReplicas"] == 1


def test_nothing_is_done_twice() -> None:
    replicaset = build_replicaset(1)
    pods = [build_pod("one")]
    replicaset["status"] = find_status(plan_replicaset(replicaset, pods, NOW))
    assert plan_replicaset(replicaset, pods, NOW) == []


def test_only_orphans_are_adopted_and_what_left_the_selector_is_freed() -> None:
    orphan = build_pod("orphan", ownerReferences=[])
    foreign = build_pod(
        "foreign", ownerReferences=[{"kind": "Lease", "uid": "lease", "controller": True}]
    )
    other = build_pod("other", labels={"app": "db"}, ownerReferences=[])
    renamed = build_pod("renamed", labels={"app": "db"})
    actions = plan_adoption(
        build_replicaset(1), "pods", [orphan, foreign, other, renamed, build_pod("mine")]
    )
    assert [action.name for action in actions if isinstance(action, Merge)] == ["orphan", "renamed"]
    adopted, freed = (action.patch["metadata"]["ownerReferences"] for action in actions)  # type: ignore[union-attr]
    assert adopted[0]["uid"] == "rs"
    assert freed is None
