"""A Job's pods, counts, conditions, back-off and time to live."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ktnet.lab.controllers.action import Create, Delete, Merge, SetStatus
from ktnet.lab.controllers.backoff import Backoff
from ktnet.lab.controllers.job import TRACKING, JobPlan, plan_job
from ktnet.lab.controllers.ttl import expires_in_s

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Obj = dict[str, Any]


def build_job(*, restart: str = "Never", status: Obj | None = None, **spec: Any) -> Obj:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": "demo", "uid": "job"},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "template": {
                "metadata": {"labels": {"job-name": "j"}},
                "spec": {"restartPolicy": restart, "containers": []},
            },
            **spec,
        },
        "status": status or {},
    }


def build_pod(name: str, phase: str, *, restarts: int = 0, **meta: Any) -> Obj:
    return {
        "metadata": {
            "name": name,
            "namespace": "demo",
            "uid": name,
            "creationTimestamp": "2026-01-02T03:00:00Z",
            "finalizers": [TRACKING],
            **meta,
        },
        "spec": {"nodeName": "lab-node"},
        "status": {
            "phase": phase,
            "conditions": [],
            "containerStatuses": [{"name": "main", "restartCount": restarts, "state": {}}],
        },
    }


def final_status(plan: JobPlan) -> Obj:
    return [action.status for action in plan.actions if isinstance(action, SetStatus)][-1]


def kinds(plan: JobPlan) -> list[str]:
    return [type(action).__name__ for action in plan.actions]


def test_a_new_job_gets_a_tracked_pod() -> None:
    plan = plan_job(build_job(), [], Backoff(), NOW)
    assert kinds(plan) == ["Create", "SetStatus"]
    assert isinstance(plan.actions[0], Create)
    assert plan.actions[0].obj["metadata"]["finalizers"] == [TRACKING]
    assert final_status(plan) == {
        "startTime": "2026-01-02T03:04:05Z",
        "active": 1,
        "terminating": 0,
        "uncountedTerminatedPods": {},
        "ready": 0,
    }


def test_success_is_counted_released_and_completes() -> None:
    job = build_job(status={"startTime": "2026-01-02T03:04:00Z", "active": 1})
    plan = plan_job(job, [build_pod("p", "Succeeded")], Backoff(), NOW)
    assert kinds(plan) == ["SetStatus", "Merge", "SetStatus"]
    first = plan.actions[0]
    assert isinstance(first, SetStatus)
    assert first.status["uncountedTerminatedPods"] == {"succeeded": ["p"]}
    assert [each["type"] for each in first.status["conditions"]] == ["SuccessCriteriaMet"]
    status = final_status(plan)
    assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert {each["reason"] for each in status["conditions"]} == {"CompletionsReached"}
    assert status["succeeded"] == 1
    assert status["completionTime"] == "2026-01-02T03:04:05Z"
    assert "active" not in status


def test_a_finished_job_is_left_alone() -> None:
    done = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}
    assert plan_job(build_job(status=done), [], Backoff(), NOW).actions == []


def test_a_failed_pod_is_replaced_after_ten_seconds_then_twenty() -> None:
    job = build_job(status={"startTime": "2026-01-02T03:00:00Z", "active": 1})
    failed = build_pod("p", "Failed")
    failed["status"]["containerStatuses"][0]["state"] = {
        "terminated": {"exitCode": 1, "finishedAt": "2026-01-02T03:04:03Z"}
    }
    plan = plan_job(job, [failed], Backoff(), NOW)
    assert not any(isinstance(action, Create) for action in plan.actions)
    assert plan.again_s == pytest.approx(8.0)
    assert final_status(plan)["failed"] == 1
    assert plan_job(job, [], plan.backoff, NOW + timedelta(seconds=7.9)).again_s
    later = plan_job(job, [], plan.backoff, NOW + timedelta(seconds=8))
    assert any(isinstance(action, Create) for action in later.actions)
    assert Backoff(2, NOW).wait_s(NOW) == 20.0
    assert Backoff(12, NOW).wait_s(NOW) == 600.0


def test_a_deleted_pod_counts_as_failed_from_the_moment_of_its_deletion() -> None:
    job = build_job(status={"startTime": "2026-01-02T03:00:00Z", "active": 1})
    ending = build_pod(
        "p",
        "Running",
        deletionTimestamp="2026-01-02T03:04:35Z",
        deletionGracePeriodSeconds=30,
    )
    plan = plan_job(job, [ending], Backoff(), NOW)
    assert plan.again_s == pytest.approx(10.0)
    status = final_status(plan)
    assert (status["failed"], status["terminating"]) == (1, 1)


def test_too_many_failures_fail_the_job_once_nothing_runs() -> None:
    job = build_job(backoffLimit=0, parallelism=2, completions=2)
    pods = [build_pod("bad", "Failed"), build_pod("good", "Running")]
    plan = plan_job(job, pods, Backoff(), NOW)
    assert [action.name for action in plan.actions if isinstance(action, Delete)] == ["good"]
    status = final_status(plan)
    assert [each["type"] for each in status["conditions"]] == ["FailureTarget"]
    assert status["conditions"][0]["reason"] == "BackoffLimitExceeded"
    after = plan_job(build_job(backoffLimit=0, status=status), [], plan.backoff, NOW)
    assert [each["type"] for each in final_status(after)["conditions"]] == [
        "FailureTarget",
        "Failed",
    ]


def test_restarts_count_under_on_failure() -> None:
    pods = [build_pod("p", "Running", restarts=3)]
    job = build_job(restart="OnFailure", backoffLimit=3)
    assert final_status(plan_job(job, pods, Backoff(), NOW))["conditions"][0]["type"] == (
        "FailureTarget"
    )
    job = build_job(restart="OnFailure", backoffLimit=4)
    assert "conditions" not in final_status(plan_job(job, pods, Backoff(), NOW))


def test_a_deadline_ends_it() -> None:
    job = build_job(activeDeadlineSeconds=60, status={"startTime": "2026-01-02T03:03:35Z"})
    pods = [build_pod("p", "Running")]
    assert plan_job(job, pods, Backoff(), NOW).again_s == pytest.approx(30.0)
    status = final_status(plan_job(job, pods, Backoff(), NOW + timedelta(seconds=30)))
    assert status["conditions"][0]["reason"] == "DeadlineExceeded"


def test_a_suspended_job_has_no_pods_and_no_start() -> None:
    plan = plan_job(build_job(suspend=True), [], Backoff(), NOW)
    assert kinds(plan) == ["SetStatus"]
    status = final_status(plan)
    assert "startTime" not in status
    assert status["conditions"][0]["type"] == "Suspended"
    assert status["conditions"][0]["status"] == "True"
    resumed = plan_job(build_job(suspend=False, status=status), [], Backoff(), NOW)
    assert kinds(resumed) == ["Create", "SetStatus"]
    assert final_status(resumed)["conditions"][0]["reason"] == "JobResumed"
    assert final_status(resumed)["startTime"] == "2026-01-02T03:04:05Z"
    running = build_pod("p", "Running")
    stopped = plan_job(build_job(suspend=True), [running], Backoff(), NOW)
    assert [type(action).__name__ for action in stopped.actions] == ["Delete", "SetStatus"]


def test_a_deleted_job_frees_its_pods_and_makes_none() -> None:
    job = build_job()
    job["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    plan = plan_job(job, [build_pod("p", "Running")], Backoff(), NOW)
    assert isinstance(plan.actions[0], Merge)
    assert plan.actions[0].patch == {"metadata": {"finalizers": None}}
    assert not any(isinstance(action, Create) for action in plan.actions)


def test_the_time_to_live_runs_from_the_end() -> None:
    finished = {
        "conditions": [
            {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-02T03:04:00Z"}
        ]
    }
    job = build_job(ttlSecondsAfterFinished=15, status=finished)
    assert expires_in_s(job, NOW) == pytest.approx(10.0)
    assert expires_in_s(job, NOW + timedelta(minutes=1)) == 0.0
    assert expires_in_s(build_job(status=finished), NOW) is None
    assert expires_in_s(build_job(ttlSecondsAfterFinished=15), NOW) is None
