"""A pod gets a node that fits, or is told why it gets none."""

from datetime import UTC, datetime
from typing import Any

from ktnet.lab.controllers.action import Merge
from ktnet.lab.controllers.scheduler import plan_scheduling

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NODE = {"metadata": {"name": "lab-node", "labels": {"kubernetes.io/os": "linux"}}}


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
