"""pods/eviction: a deletion that asks the pod's PodDisruptionBudget first.

kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/; the rules and the words are those of
pkg/registry/core/pod/storage/eviction.go.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ktnet.lab.api.body import read_delete_options
from ktnet.lab.api.deletion import DeleteOptions
from ktnet.lab.api.errors import ApiError, Obj, bad_request
from ktnet.lab.api.labelselector import matches
from ktnet.lab.api.metadata import format_time
from ktnet.lab.api.store import Store

TARGET = ("DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting")
"""Type, reason and message of the condition that an evicted pod ends with."""

_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
    "support."
)
_PROCESSING_RETRY_S = 10


def parse_eviction(name: str, body: Any, query: dict[str, str]) -> tuple[DeleteOptions, bool]:
    """What an Eviction of the pod `name` asks for, and whether it is a dry run; ApiError 400."""
    if not isinstance(body, dict) or body.get("kind", "Eviction") != "Eviction":
        raise bad_request("the body of an eviction is an Eviction")
    if body.get("apiVersion", "policy/v1") != "policy/v1":
        raise bad_request(f"no kind Eviction is known in {body['apiVersion']}: it is in policy/v1")
    named = (body.get("metadata") or {}).get("name")
    if named and named != name:
        raise bad_request("name in URL does not match name in Eviction object")
    return read_delete_options(body.get("deleteOptions") or {}, query)


def evict(
    store: Store,
    namespace: str,
    name: str,
    options: DeleteOptions,
    now: datetime,
    *,
    dry_run: bool = False,
) -> None:
    """Marks the pod and deletes it, where its budget allows; raises ApiError (429: it doesn't)."""
    pod = store.get("pods", namespace, name)
    budget = choose_budget(pod, store.list("poddisruptionbudgets", namespace))
    if budget is not None and not dry_run:
        spent = build_spent_status(budget, name, now)
        place = (namespace, budget["metadata"]["name"])
        store.patch("poddisruptionbudgets", *place, {"status": spent}, subresource="status")
    if not dry_run and "deletionTimestamp" not in pod["metadata"]:
        marked = {"status": {"conditions": build_conditions(pod, now)}}
        store.patch("pods", namespace, name, marked, subresource="status")
    store.remove("pods", namespace, name, options, dry_run=dry_run)


def choose_budget(pod: Obj, budgets: list[Obj]) -> Obj | None:
    """The budget that the eviction is to be counted in, if any; raises ApiError. Pure."""
    status = pod.get("status") or {}
    over = status.get("phase") in {"Succeeded", "Failed", "Pending"}
    if over or "deletionTimestamp" in pod["metadata"]:
        return None
    labels = pod["metadata"].get("labels") or {}
    found = [each for each in budgets if _selects(each, labels)]
    if len(found) > 1:
        raise ApiError(500, "", _SEVERAL)
    if not found or not (_is_ready(pod) or _guards_unready(found[0])):
        return None
    _check_room(found[0])
    return found[0]


def _selects(budget: Obj, labels: dict[str, str]) -> bool:
    selector = budget["spec"].get("selector")
    return selector is not None and matches(selector, labels)


def _is_ready(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _guards_unready(budget: Obj) -> bool:
    """A pod that serves nobody may go, unless enough others are missing already."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return False
    status = budget["status"]
    return not 0 < status["desiredHealthy"] <= status["currentHealthy"]


def _check_room(budget: Obj) -> None:
    meta, status = budget["metadata"], budget["status"]
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        why = f"The disruption budget {meta['name']} is still being processed by the server."
        raise _too_many(why, retry_s=_PROCESSING_RETRY_S)
    if not status["disruptionsAllowed"]:
        raise _too_many(
            f"The disruption budget {meta['name']} needs {status['desiredHealthy']} healthy pods "
            f"and has {status['currentHealthy']} currently"
        )


def _too_many(why: str, *, retry_s: int = 0) -> ApiError:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if not retry_s:
        return ApiError(429, "TooManyRequests", _VIOLATES, details)
    details["retryAfterSeconds"] = retry_s
    return ApiError(429, "TooManyRequests", _VIOLATES, details, {"Retry-After": str(retry_s)})


def build_spent_status(budget: Obj, pod: str, now: datetime) -> Obj:
    """The budget's status with one disruption less, of that pod. Pure."""
    status = budget["status"]
    disrupted = {**(status.get("disruptedPods") or {}), pod: format_time(now)}
    allowed = status["disruptionsAllowed"] - 1
    return {**status, "disruptionsAllowed": allowed, "disruptedPods": disrupted}


def build_conditions(pod: Obj, now: datetime) -> list[Obj]:
    """The pod's conditions with DisruptionTarget. Pure."""
    kind, reason, message = TARGET
    known = (pod.get("status") or {}).get("conditions") or []
    target = {
        "type": kind,
        "observedGeneration": pod["metadata"].get("generation", 1),
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": format_time(now),
        "reason": reason,
        "message": message,
    }
    return [*(each for each in known if each["type"] != kind), target]
