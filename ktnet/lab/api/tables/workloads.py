"""What stamps out pods, as `kubectl get` prints it. Pure."""

from __future__ import annotations

from datetime import datetime

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.metadata import parse_time
from ktnet.lab.api.scale import format_selector
from ktnet.lab.api.tables.cells import (
    NONE,
    Cells,
    Columns,
    format_age,
    format_duration,
    name_of,
)

_JOB_STATES = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)
"""Condition and what it is called, the most telling first; the empty one is a deletion."""


def print_deployment(obj: Obj, now: datetime) -> Cells:
    status = obj.get("status") or {}
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{obj['spec'].get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        format_age(obj, now),
        *_template_cells(obj),
        _selector(obj),
    ]


def print_replica_set(obj: Obj, now: datetime) -> Cells:
    status = obj.get("status") or {}
    return [
        name_of(obj),
        obj["spec"].get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        format_age(obj, now),
        *_template_cells(obj),
        _selector(obj),
    ]


def print_stateful_set(obj: Obj, now: datetime) -> Cells:
    ready = (obj.get("status") or {}).get("readyReplicas", 0)
    share = f"{ready}/{obj['spec'].get('replicas', 0)}"
    return [name_of(obj), share, format_age(obj, now), *_template_cells(obj)]


def print_job(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    done = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        share = f"{done}/{spec['completions']}"
    else:
        parallel = spec.get("parallelism", 0)
        share = f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    return [
        name_of(obj),
        _describe_job(obj),
        share,
        _duration(status, now),
        format_age(obj, now),
        *_template_cells(obj),
        _selector(obj),
    ]


def _describe_job(obj: Obj) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    true = {each["type"] for each in conditions if each.get("status") == "True"}
    for condition, name in _JOB_STATES:
        if condition in true or (not condition and obj["metadata"].get("deletionTimestamp")):
            return name
    return "Running"


def _duration(status: Obj, now: datetime) -> str:
    if not status.get("startTime"):
        return ""
    ended = status.get("completionTime")
    until = parse_time(ended) if ended else now
    return format_duration(int((until - parse_time(status["startTime"])).total_seconds()))


def _template_cells(obj: Obj) -> Cells:
    containers = obj["spec"]["template"]["spec"].get("containers") or []
    return [
        ",".join(each["name"] for each in containers),
        ",".join(each.get("image", "") for each in containers),
    ]


def _selector(obj: Obj) -> str:
    return format_selector(obj["spec"].get("selector") or {}) or NONE


_TEMPLATE = ("Containers", "Images")

WORKLOADS = {
    "deployments": Columns(
        ("Name", "Ready", "Up-to-date", "Available", "Age", *_TEMPLATE, "Selector"),
        5,
        print_deployment,
    ),
    "replicasets": Columns(
        ("Name", "Desired", "Current", "Ready", "Age", *_TEMPLATE, "Selector"),
        5,
        print_replica_set,
    ),
    "statefulsets": Columns(("Name", "Ready", "Age", *_TEMPLATE), 3, print_stateful_set),
    "jobs": Columns(
        ("Name", "Status", "Completions", "Duration", "Age", *_TEMPLATE, "Selector"),
        5,
        print_job,
    ),
}
"""By the resource's key."""
