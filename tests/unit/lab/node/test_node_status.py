"""Phase and conditions from what is known about the containers."""

from ipaddress import IPv4Address

import pytest

from ktnet.lab.node.status import (
    ContainerFacts,
    PodFacts,
    build_phase,
    build_pod_status,
    build_terminated,
    format_time,
)

WAITING = {"waiting": {"reason": "ContainerCreating"}}
RUNNING = {"running": {"startedAt": "2026-11-23T08:00:00Z"}}
NOW, LATER = "2026-11-23T08:00:01Z", "2026-11-23T08:00:02Z"


def ended(code):
    return build_terminated(code, NOW, NOW, "containerd://x", "")


def container(name, state, **facts):
    return ContainerFacts({"name": name, "image": "x"}, state=state, **facts)


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([container("a", WAITING)], "Pending"),
        ([container("a", RUNNING), container("b", WAITING)], "Pending"),
        ([container("a", WAITING, last_state=ended(1))], "Running"),
        ([container("a", RUNNING)], "Running"),
        ([container("a", ended(0))], "Running"),
        ([container("a", ended(0), over=True), container("b", RUNNING)], "Running"),
        ([container("a", ended(0), over=True)], "Succeeded"),
        ([container("a", ended(0), over=True), container("b", ended(2), over=True)], "Failed"),
    ],
)
def test_phase(containers, expected):
    assert build_phase(containers) == expected


def conditions(status):
    return {each["type"]: each for each in status["conditions"]}


def test_conditions_keep_their_time_until_they_change():
    pod = {"metadata": {"generation": 1}, "status": {"phase": "Pending", "qosClass": "BestEffort"}}
    facts = PodFacts(NOW, containers=[container("a", WAITING), container("b", WAITING)])
    first = build_pod_status(pod, facts, NOW)
    assert [each["type"] for each in first["conditions"]] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    assert conditions(first)["Ready"]["message"] == "containers with unready status: [a b]"
    assert "podIP" not in first

    facts.sandbox_ready = True
    facts.address = IPv4Address("10.244.0.5")
    for each in facts.containers:
        each.state, each.ready, each.container_id = RUNNING, True, "containerd://x"
    second = build_pod_status({**pod, "status": first}, facts, LATER)
    assert second["podIP"] == "10.244.0.5"
    assert second["qosClass"] == "BestEffort"
    found = conditions(second)
    assert (found["Ready"]["status"], found["Ready"]["lastTransitionTime"]) == ("True", LATER)
    assert "reason" not in found["Ready"]
    assert found["PodScheduled"]["lastTransitionTime"] == NOW
    assert build_pod_status({**pod, "status": second}, facts, "2027-01-01T00:00:00Z") == second


def test_finished_pod():
    one = container("a", ended(0), over=True)
    one.container_id = "containerd://x"
    facts = PodFacts(NOW, containers=[one])
    status = build_pod_status({"metadata": {"generation": 2}, "status": {}}, facts, NOW)
    assert status["observedGeneration"] == 2
    found = conditions(status)
    assert {key: found[key].get("reason") for key in ("Initialized", "Ready")} == {
        "Initialized": "PodCompleted",
        "Ready": "PodCompleted",
    }
    assert found["Initialized"]["status"] == "True"
    assert found["Ready"]["status"] == "False"


def test_a_pod_is_over_when_its_sandbox_is_gone():
    one = container("a", ended(1), over=True)
    one.container_id = "containerd://x"
    facts = PodFacts(NOW, containers=[one], sandbox_ready=True)
    pod = {"metadata": {"generation": 1}}
    closing = build_pod_status(pod, facts, NOW)
    assert closing["phase"] == "Running"
    assert conditions(closing)["Ready"]["reason"] == "PodFailed"
    assert conditions(closing)["PodReadyToStartContainers"]["status"] == "True"
    pod["metadata"]["deletionTimestamp"] = NOW
    assert build_pod_status(pod, facts, NOW)["phase"] == "Failed"
    facts.sandbox_ready = False
    assert build_pod_status({"metadata": {}}, facts, NOW)["phase"] == "Failed"


def test_a_pod_that_ends_before_it_began_keeps_its_conditions():
    facts = PodFacts(NOW, containers=[container("a", ended(137), over=True)])
    status = build_pod_status({"metadata": {}}, facts, NOW)
    assert status["phase"] == "Failed"
    assert conditions(status)["Ready"]["reason"] == "ContainersNotReady"


def test_times_are_whole_seconds():
    assert format_time(1_795_424_399_999_999_999) == "2026-11-23T08:59:59Z"
