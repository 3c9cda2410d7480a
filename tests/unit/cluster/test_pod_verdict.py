"""What pod statuses mean, in the shapes in which kubelet and scheduler write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktnet.cluster.shadow.verdict import RunningPod, Waiting, judge_event, judge_pod
from ktnet.errors import RemoteProtocolError, ShadowFailed


def pod(state=None, **status):
    container = {"name": "shadow", "image": "ktnet-shadow:1", "containerID": "", "state": state}
    if state:
        status["containerStatuses"] = [container]
    return {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Pending", "podIP": "10.244.0.7"} | status,
    }


def waiting(reason, message=""):
    return pod({"waiting": {"reason": reason, "message": message}})


def test_a_running_container_is_what_is_waited_for():
    running = pod({"running": {"startedAt": "2026-11-23T08:58:16Z"}}, phase="Running")
    running["status"]["containerStatuses"][0]["containerID"] = "containerd://1"
    assert judge_pod(running) == RunningPod("p", "u", "10.244.0.7", "n", "containerd://1")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (pod(), "Pending"),
        (waiting("ContainerCreating"), "ContainerCreating"),
        (waiting("PodInitializing"), "PodInitializing"),
        ({"metadata": {"deletionTimestamp": "2026-11-23T08:58:16Z"}}, "Terminating"),
        ({}, "Pending"),
    ],
)
def test_some_states_pass(state, reason):
    assert judge_pod(state) == Waiting(reason)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (waiting("ErrImagePull", "not found"), r"ktnet-shadow:1 can't be had: ErrImagePull: not f"),
        (waiting("ImagePullBackOff"), "ImagePullBackOff"),
        (waiting("InvalidImageName"), "InvalidImageName"),
        (waiting("CreateContainerConfigError", "no secret"), "can't be started.*no secret"),
        (pod({"terminated": {"exitCode": 2, "reason": "Error"}}), "exit code 2: Error"),
        (pod(phase="Failed", reason="Evicted", message="disk"), "Failed: Evicted: disk"),
        (pod({"terminated": {"exitCode": 0}}, phase="Succeeded"), "exit code 0"),
        (
            pod(
                conditions=[
                    {"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes"}
                ]
            ),
            "no node takes.*0/1 nodes",
        ),
    ],
)
def test_others_do_not(state, words):
    with pytest.raises(ShadowFailed, match=words):
        judge_pod(state)


def test_a_crash_loop_tells_the_last_exit():
    crashing = waiting("CrashLoopBackOff", "back-off 10s")
    crashing["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1}}
    with pytest.raises(ShadowFailed, match="ends at once, exit code 1"):
        judge_pod(crashing)


def test_an_image_failure_says_what_to_do():
    with pytest.raises(ShadowFailed) as raised:
        judge_pod(waiting("ErrImagePull"))
    assert "KTNET_IMAGE" in raised.value.hint


def test_the_clusters_words_are_fit_for_a_terminal():
    with pytest.raises(ShadowFailed) as raised:
        judge_pod(waiting("ErrImagePull", "bad\x1b[2J\nnews"))
    assert raised.value.message.isprintable()


def test_events_of_the_job_tell_what_is_not_admitted():
    judge_event({"reason": "SuccessfulCreate"})
    with pytest.raises(ShadowFailed, match="violates PodSecurity"):
        judge_event({"reason": "FailedCreate", "message": 'violates PodSecurity "restricted"'})


SPELLED = """metadata spec status phase conditions type reason message containerStatuses name state
    running waiting terminated lastState podIP containerID uid deletionTimestamp"""
KEYS = st.sampled_from(SPELLED.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_any_shape_has_a_verdict_or_is_the_servers_fault(obj):
    with contextlib.suppress(ShadowFailed, RemoteProtocolError):
        assert isinstance(judge_pod(obj), RunningPod | Waiting)
