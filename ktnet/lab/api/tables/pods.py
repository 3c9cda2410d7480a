"""Pods as `kubectl get` prints them (printPod of pkg/printers/internalversion). Pure."""

from __future__ import annotations

from datetime import datetime

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.tables.cells import (
    NONE,
    Cells,
    Columns,
    format_age,
    format_since,
    name_of,
)

_TERMINAL = frozenset({"Succeeded", "Failed"})


def print_pod(pod: Obj, now: datetime) -> Cells:
    spec, status = pod["spec"], pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready = sum(bool(each.get("ready") and _state(each, "running")) for each in statuses)
    gates = spec.get("readinessGates") or []
    return [
        name_of(pod),
        f"{ready}/{len(spec['containers'])}",
        describe_state(pod),
        _count_restarts([*(status.get("initContainerStatuses") or []), *statuses], now),
        format_age(pod, now),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{_count_passed(gates, status)}/{len(gates)}" if gates else NONE,
    ]


def describe_state(pod: Obj) -> str:
    """What one word says best."""
    status = pod.get("status") or {}
    shown = status.get("reason") or status.get("phase") or ""
    for condition in status.get("conditions") or []:
        if (condition["type"], condition.get("reason")) == ("PodScheduled", "SchedulingGated"):
            shown = "SchedulingGated"
    shown = _describe_initialising(pod) or _describe_containers(status, shown)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in _TERMINAL:
            return "Terminating"
    return shown


def _describe_initialising(pod: Obj) -> str:
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    for index, each in enumerate(statuses):
        ended, waiting = _state(each, "terminated"), _state(each, "waiting")
        if ended and ended.get("exitCode") == 0:
            continue
        if ended:
            return f"Init:{_describe_end(ended)}"
        if waiting and waiting.get("reason") not in {None, "", "PodInitializing"}:
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(pod['spec'].get('initContainers') or [])}"
    return ""


def _describe_containers(status: Obj, shown: str) -> str:
    running = False
    for each in reversed(status.get("containerStatuses") or []):
        ended, waiting = _state(each, "terminated"), _state(each, "waiting")
        if waiting and waiting.get("reason"):
            shown = waiting["reason"]
        elif ended:
            shown = _describe_end(ended)
        elif each.get("ready") and _state(each, "running"):
            running = True
    if shown == "Completed" and running:
        conditions = {c["type"]: c.get("status") for c in status.get("conditions") or []}
        return "Running" if conditions.get("Ready") == "True" else "NotReady"
    return str(shown)


def _describe_end(ended: Obj) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _state(container: Obj, name: str) -> Obj | None:
    """A member of a container's state; `{}` (running since nobody knows when) counts."""
    state = (container.get("state") or {}).get(name)
    return None if state is None else {"startedAt": "", **state}


def _count_restarts(statuses: list[Obj], now: datetime) -> str:
    count = sum(each.get("restartCount", 0) for each in statuses)
    ends = [((each.get("lastState") or {}).get("terminated") or {}) for each in statuses]
    finished = [str(end["finishedAt"]) for end in ends if end.get("finishedAt")]
    if not count or not finished:
        return str(count)
    return f"{count} ({format_since(max(finished), now)} ago)"


def _count_passed(gates: list[Obj], status: Obj) -> int:
    conditions = {c["type"]: c.get("status") for c in status.get("conditions") or []}
    return sum(conditions.get(gate["conditionType"]) == "True" for gate in gates)


def _conditions(pod: Obj) -> list[Obj]:
    phase = (pod.get("status") or {}).get("phase")
    said = {
        "Succeeded": "The pod has completed successfully.",
        "Failed": "The pod failed.",
    }
    if phase not in said:
        return []
    done = {"type": "Completed", "status": "True", "reason": phase, "message": said[phase]}
    return [done]


PODS = Columns(
    (
        *("Name", "Ready", "Status", "Restarts", "Age"),
        *("IP", "Node", "Nominated Node", "Readiness Gates"),
    ),
    5,
    print_pod,
    _conditions,
)
