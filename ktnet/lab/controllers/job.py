"""Jobs: pods that are made until enough of them succeeded or too many failed.

Each pod carries a finalizer until its end is counted, so that none is missed
(kubernetes.io/docs/concepts/workloads/controllers/job/#job-tracking-with-finalizers).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
from ktnet.lab.controllers.backoff import Backoff
from ktnet.lab.controllers.kind import (
    Clock,
    Obj,
    controller_of,
    drop_empty,
    format_time,
    is_active_pod,
    is_being_deleted,
    is_controlled_by,
    is_finished_pod,
    is_ready_pod,
    is_true,
    parse_time,
)
from ktnet.lab.controllers.loop import Key
from ktnet.lab.controllers.refusals import apply_for
from ktnet.lab.controllers.replicaset import build_pod, deletion_rank

TRACKING = "batch.kubernetes.io/job-tracking"

BATCH_S = 1.0
"""Changes of pods are looked at together, a second later, as the real controller does."""

SUSPENDED = ("Suspended", "JobSuspended", "Job suspended")
RESUMED = ("Suspended", "JobResumed", "Job resumed")
REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")
EXCEEDED = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
OVERDUE = ("DeadlineExceeded", "Job was active longer than specified deadline")


@dataclass
class JobPlan:
    """What to do for a Job, what to remember, and after how many seconds to look again."""

    actions: list[Action] = field(default_factory=list)
    backoff: Backoff = field(default_factory=Backoff)
    again_s: float | None = None


def plan_job(job: Obj, pods: list[Obj], backoff: Backoff, now: datetime) -> JobPlan:
    """The next step for a Job, given the pods that it controls."""
    if is_being_deleted(job):
        actions = [release(pod) for pod in pods if _is_tracked(pod)]
        status = _with_conditions(job, [], _count(job, pods, created=0))
        return JobPlan([*actions, *_set_status(job, status)], backoff)
    if is_finished_job(job):
        return JobPlan([release(pod) for pod in pods if _is_tracked(pod)], backoff)
    ended = [pod for pod in pods if _is_tracked(pod)]
    succeeded = [pod for pod in ended if pod["status"].get("phase") == "Succeeded"]
    failed = [pod for pod in ended if _is_failure(pod)]
    plan = JobPlan(backoff=backoff.after_failures(failed))
    totals = {
        "succeeded": _number(job, "succeeded") + len(succeeded),
        "failed": _number(job, "failed") + len(failed),
    }
    verdict = _judge(job, pods, totals, now)
    conditions = _build_suspension(job, now)
    if verdict is not None:
        kind, reason, message = verdict
        conditions.append(build_condition(kind, "True", reason, message, now))
    created = 0
    if verdict is not None or job["spec"].get("suspend"):
        plan.actions += [build_delete("pods", pod) for pod in pods if is_active_pod(pod)]
    else:
        created = _plan_pods(job, pods, totals["succeeded"], plan, now)
        plan.again_s = _earliest(plan.again_s, _deadline_in_s(job, now))
    if succeeded or failed:
        uncounted = drop_empty(
            {
                "succeeded": [pod["metadata"]["uid"] for pod in succeeded],
                "failed": [pod["metadata"]["uid"] for pod in failed],
            }
        )
        counts = {**_count(job, pods, created=created), "uncountedTerminatedPods": uncounted}
        plan.actions += _set_status(
            job, _start(job, _with_conditions(job, conditions, counts), now)
        )
        plan.actions += [release(pod) for pod in (*succeeded, *failed)]
    counts = {**_count(job, pods, created=created), **drop_empty(totals)}
    finished = _finish(verdict, pods, now) if verdict is not None else []
    status = _start(job, _with_conditions(job, [*conditions, *finished], counts), now)
    if finished and finished[0]["type"] == "Complete":
        status["completionTime"] = format_time(now)
    plan.actions += _set_status(job, status)
    return plan


def is_finished_job(job: Obj) -> bool:
    return is_true(job, "Complete") or is_true(job, "Failed")


def release(pod: Obj) -> Action:
    """Takes the tracking finalizer off a pod."""
    rest = [each for each in pod["metadata"]["finalizers"] if each != TRACKING]
    return build_merge("pods", pod, {"metadata": {"finalizers": rest or None}})


def _is_tracked(pod: Obj) -> bool:
    return TRACKING in (pod["metadata"].get("finalizers") or [])


def _is_failure(pod: Obj) -> bool:
    """A pod that is being deleted counts as failed: its end may never be seen."""
    phase = (pod.get("status") or {}).get("phase")
    return phase == "Failed" or (is_being_deleted(pod) and phase != "Succeeded")


def _number(job: Obj, name: str) -> int:
    return int((job.get("status") or {}).get(name, 0))


def _judge(
    job: Obj, pods: list[Obj], totals: dict[str, int], now: datetime
) -> tuple[str, str, str] | None:
    """(condition type, reason, message) once the Job's end is decided."""
    if is_true(job, "SuccessCriteriaMet"):
        return "SuccessCriteriaMet", *REACHED
    spec = job["spec"]
    completions = spec.get("completions")
    active = [pod for pod in pods if is_active_pod(pod)]
    enough = totals["succeeded"] >= (completions if completions is not None else 1)
    if enough and (completions is not None or not active):
        return "SuccessCriteriaMet", *REACHED
    target = next(
        (
            each
            for each in (job.get("status") or {}).get("conditions") or []
            if each["type"] == "FailureTarget"
        ),
        None,
    )
    if target is not None:
        return "FailureTarget", target["reason"], target["message"]
    limit = spec.get("backoffLimit", 6)
    restarts = 0
    if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
        restarts = sum(
            container.get("restartCount", 0)
            for pod in active
            for container in (pod.get("status") or {}).get("containerStatuses") or []
        )
    if totals["failed"] > limit or restarts >= max(limit, 1):
        return "FailureTarget", *EXCEEDED
    if _deadline_in_s(job, now) == 0.0:
        return "FailureTarget", *OVERDUE
    return None


def _deadline_in_s(job: Obj, now: datetime) -> float | None:
    """Seconds until spec.activeDeadlineSeconds are over, None where there's no such limit."""
    limit_s = job["spec"].get("activeDeadlineSeconds")
    started = (job.get("status") or {}).get("startTime")
    if limit_s is None or started is None or job["spec"].get("suspend"):
        return None
    return max(0.0, float(limit_s) - (now - parse_time(started)).total_seconds())


def _earliest(*moments_s: float | None) -> float | None:
    return min((each for each in moments_s if each is not None), default=None)


def _plan_pods(job: Obj, pods: list[Obj], succeeded: int, plan: JobPlan, now: datetime) -> int:
    """Adds the making or deleting of pods to the plan; how many are made."""
    active = [pod for pod in pods if is_active_pod(pod)]
    wanted = job["spec"].get("parallelism", 1)
    completions = job["spec"].get("completions")
    if completions is not None:
        wanted = min(wanted, completions - succeeded)
    elif succeeded:
        wanted = len(active)
    if len(active) > wanted:
        surplus = sorted(active, key=deletion_rank)[: len(active) - wanted]
        plan.actions += [build_delete("pods", pod) for pod in surplus]
        return 0
    missing = wanted - len(active)
    if job["spec"].get("podReplacementPolicy") == "Failed":
        missing -= sum(is_being_deleted(pod) and not is_finished_pod(pod) for pod in pods)
    if missing <= 0:
        return 0
    wait_s = plan.backoff.wait_s(now)
    if wait_s:
        plan.again_s = wait_s
        return 0
    pod = build_pod(job)
    pod["metadata"]["finalizers"] = [TRACKING]
    plan.actions += [Create("pods", job["metadata"]["namespace"], pod)] * missing
    return int(missing)


def _count(job: Obj, pods: list[Obj], *, created: int) -> Obj:
    active = [pod for pod in pods if is_active_pod(pod)]
    counts: Obj = {
        "startTime": (job.get("status") or {}).get("startTime"),
        "completionTime": (job.get("status") or {}).get("completionTime"),
        "active": len(active) + created,
        "succeeded": _number(job, "succeeded"),
        "failed": _number(job, "failed"),
        "terminating": sum(is_being_deleted(pod) and not is_finished_pod(pod) for pod in pods),
        "uncountedTerminatedPods": {},
        "ready": sum(is_ready_pod(pod) for pod in active),
    }
    return drop_empty(counts, keep=("terminating", "uncountedTerminatedPods", "ready"))


def _start(job: Obj, status: Obj, now: datetime) -> Obj:
    """startTime runs from the first look at a Job that isn't suspended."""
    if job["spec"].get("suspend"):
        return {key: value for key, value in status.items() if key != "startTime"}
    return {"startTime": format_time(now), **status}


def _build_suspension(job: Obj, now: datetime) -> list[Obj]:
    """The condition Suspended where it changes."""
    suspended = bool(job["spec"].get("suspend"))
    if suspended == is_true(job, "Suspended"):
        return []
    kind, reason, message = SUSPENDED if suspended else RESUMED
    return [build_condition(kind, "True" if suspended else "False", reason, message, now)]


def build_condition(kind: str, status: str, reason: str, message: str, now: datetime) -> Obj:
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": format_time(now),
        "lastTransitionTime": format_time(now),
        "reason": reason,
        "message": message,
    }


def _finish(verdict: tuple[str, str, str], pods: list[Obj], now: datetime) -> list[Obj]:
    """The final condition, once none of the Job's pods runs any more."""
    if any(not is_finished_pod(pod) for pod in pods):
        return []
    kind, reason, message = verdict
    final = "Complete" if kind == "SuccessCriteriaMet" else "Failed"
    return [build_condition(final, "True", reason, message, now)]


def _with_conditions(job: Obj, changed: list[Obj], counts: Obj) -> Obj:
    known = list((job.get("status") or {}).get("conditions") or [])
    for new in changed:
        old = next((each for each in known if each["type"] == new["type"]), None)
        if old is None:
            known.append(new)
        elif old["status"] != new["status"]:
            known[known.index(old)] = new
    return {**({"conditions": known} if known else {}), **counts}


def _set_status(job: Obj, status: Obj) -> list[Action]:
    return [SetStatus("jobs", job, status)] if status != job.get("status") else []


class JobController:
    """Keeps every Job's pods."""

    watched = ("jobs", "pods")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._backoffs: dict[str, Backoff] = {}

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        namespace = obj["metadata"]["namespace"]
        if plural == "jobs":
            if kind == "DELETED":
                self._backoffs.pop(obj["metadata"]["uid"], None)
            yield (namespace, obj["metadata"]["name"]), 0.0
            return
        owner = controller_of(obj)
        if owner is not None and owner["kind"] == "Job":
            yield (namespace, owner["name"]), BATCH_S

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        job = find(self._store, "jobs", namespace, name)
        pods: list[dict[str, Any]] = self._store.list("pods", namespace)
        for pod in pods:
            owner = controller_of(pod)
            if owner is None or (owner["kind"], owner["name"]) != ("Job", name):
                continue
            if _is_tracked(pod) and (job is None or owner["uid"] != job["metadata"]["uid"]):
                apply_action(self._store, release(pod))
        if job is None:
            return None
        uid = job["metadata"]["uid"]
        now = self._clock()
        plan = plan_job(
            job,
            [pod for pod in pods if is_controlled_by(pod, job)],
            self._backoffs.get(uid, Backoff()),
            now,
        )
        self._backoffs[uid] = plan.backoff
        for action in plan.actions:
            apply_for(self._store, job, action, "job-controller", now)
        return plan.again_s
