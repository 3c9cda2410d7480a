"""A Deployment's status: counts and the conditions Available and Progressing. Pure."""

from __future__ import annotations

from datetime import datetime

from ktnet.lab.controllers.kind import Obj, condition_of, drop_empty, format_time
from ktnet.lab.controllers.rollout import build_bounds


def build_created(deployment: Obj, current: Obj, now: datetime) -> list[Obj]:
    """The conditions of a Deployment whose ReplicaSet `current` was made just now."""
    new = {
        "type": "Progressing",
        "status": "True",
        "reason": "NewReplicaSetCreated",
        "message": f'Created new replica set "{current["metadata"]["name"]}"',
    }
    return set_condition((deployment.get("status") or {}).get("conditions") or [], new, now)


def build_status(
    deployment: Obj, current: Obj | None, replicasets: list[Obj], now: datetime
) -> Obj:
    """The Deployment's new status."""
    counts = _count(deployment, current, replicasets)
    conditions = list((deployment.get("status") or {}).get("conditions") or [])
    conditions = set_condition(conditions, _available(deployment, counts), now)
    if current is not None:
        progressing = _progressing(deployment, current, counts)
        if progressing is not None:
            conditions = set_condition(conditions, progressing, now)
    return {**drop_empty(counts, keep=("terminatingReplicas",)), "conditions": conditions}


def _count(deployment: Obj, current: Obj | None, replicasets: list[Obj]) -> Obj:
    def total(field: str, of: list[Obj]) -> int:
        return sum((each.get("status") or {}).get(field, 0) for each in of)

    available = total("availableReplicas", replicasets)
    wanted = sum(each["spec"]["replicas"] for each in replicasets)
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": total("replicas", replicasets),
        "updatedReplicas": total("replicas", [current] if current else []),
        "readyReplicas": total("readyReplicas", replicasets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
        "terminatingReplicas": total("terminatingReplicas", replicasets),
    }


def _available(deployment: Obj, counts: Obj) -> Obj:
    minimum = deployment["spec"]["replicas"] - build_bounds(deployment).unavailable
    if counts["availableReplicas"] >= minimum:
        return {
            "type": "Available",
            "status": "True",
            "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.",
        }
    return {
        "type": "Available",
        "status": "False",
        "reason": "MinimumReplicasUnavailable",
        "message": "Deployment does not have minimum availability.",
    }


def _progressing(deployment: Obj, current: Obj, counts: Obj) -> Obj | None:
    """The condition to set, None where it stays as it is."""
    name = current["metadata"]["name"]
    desired = deployment["spec"]["replicas"]
    before = deployment.get("status") or {}
    known = condition_of(deployment, "Progressing")
    finished = known is not None and known["reason"] == "NewReplicaSetAvailable"
    if finished and counts["replicas"] == counts["updatedReplicas"]:
        return None
    if counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == desired:
        reason = "NewReplicaSetAvailable"
        message = f'ReplicaSet "{name}" has successfully progressed.'
    elif any(
        counts[field] > before.get(field, 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    ):
        reason, message = "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'
    else:
        return None
    return {"type": "Progressing", "status": "True", "reason": reason, "message": message}


def set_condition(conditions: list[Obj], new: Obj, now: datetime) -> list[Obj]:
    """The conditions with `new` in them, last; unchanged where status and reason are the same."""
    known = next((each for each in conditions if each["type"] == new["type"]), None)
    if known is not None and (known["status"], known["reason"]) == (new["status"], new["reason"]):
        return conditions
    same_status = known is not None and known["status"] == new["status"]
    changed = known["lastTransitionTime"] if known and same_status else format_time(now)
    return [
        *(each for each in conditions if each["type"] != new["type"]),
        {
            "type": new["type"],
            "status": new["status"],
            "lastUpdateTime": format_time(now),
            "lastTransitionTime": changed,
            "reason": new["reason"],
            "message": new["message"],
        },
    ]
