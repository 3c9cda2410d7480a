"""A pod gets a node that fits, or is told why it gets none."""

from datetime import UTC, datetime
from typing import Any

from ktnet.lab.controllers.action import Merge
from ktnet.lab.controllers.scheduler import plan_scheduling

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NODE = {"metadata": {"name": "lab-node", "labels": {"kubernetes.io/os": "linux"}}, "spec": {}}


def build_pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "demo", "generation": 1}, "spec": spec}


def conditions(action: object) -> list[dict[str, Any]]:
    assert isinstance(action, Merge)
    return list(action.patch["status"]["conditions"])


def test_a_pod_is_bound_to_a_node_that_fits() -> None:
    (bind,) = plan_scheduling(build_pod(), [NODE], NOW)
    assert isinstance(bind, Merge)
    assert (bind.subresource, bind.patch) == ("binding", {"spec": {"nodeName": "lab-node"}})


def test_a_selector_that_fits_no_node_is_said_once() -> None:
    pod = build_pod(nodeSelector={"no": "such"})
    (mark,) = plan_scheduling(pod, [NODE], NOW)
    (condition,) = conditions(mark)
    assert condition["reason"] == "Unschedulable"
    assert condition["message"].startswith(
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    )
    pod["status"] = {"conditions": [condition]}
    assert plan_scheduling(pod, [NODE], NOW) == []


def test_a_cordoned_node_takes_only_who_tolerates_it() -> None:
    cordoned = {**NODE, "spec": {"unschedulable": True}}
    (mark,) = plan_scheduling(build_pod(), [cordoned], NOW)
    (condition,) = conditions(mark)
    assert condition["message"].startswith(
        "0/1 nodes are available: 1 node(s) were unschedulable. no new claims"
    )
    toleration = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    (bind,) = plan_scheduling(build_pod(tolerations=[toleration]), [cordoned], NOW)
    assert isinstance(bind, Merge)
    assert bind.subresource == "binding"


def test_each_reason_is_counted() -> None:
    nodes = [{**NODE, "spec": {"unschedulable": True}}, NODE, NODE]
    (mark,) = plan_scheduling(build_pod(nodeSelector={"no": "such"}), nodes, NOW)
    (condition,) = conditions(mark)
    assert (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match Pod's node "
        "affinity/selector."
    ) in condition["message"]
