"""What every controller asks of an object: owner, labels, conditions, time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

Obj = dict[str, Any]
"""An object of the API, as its JSON says it."""

Clock = Callable[[], datetime]
"""Says what time it is, in UTC."""


def format_time(moment: datetime) -> str:
    """`metav1.Time` on the wire: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """The moment of a `metav1.Time` or `metav1.MicroTime`."""
    return datetime.fromisoformat(text)


def labels_of(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference that has `controller: true`: at most one may."""
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            return dict(reference)
    return None


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def build_controller_reference(owner: Obj) -> Obj:
    """The owner reference that a controller puts on what it creates for `owner`."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_being_deleted(obj: Obj) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def condition_of(obj: Obj, kind: str) -> Obj | None:
    """The condition of that type in `status.conditions`."""
    for condition in (obj.get("status") or {}).get("conditions") or []:
        if condition["type"] == kind:
            return dict(condition)
    return None


def is_true(obj: Obj, kind: str) -> bool:
    condition = condition_of(obj, kind)
    return condition is not None and condition["status"] == "True"


def is_finished_pod(pod: Obj) -> bool:
    """Its containers ran and will not run again."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def is_active_pod(pod: Obj) -> bool:
    """It runs or will run, and nobody has asked for its end."""
    return not is_finished_pod(pod) and not is_being_deleted(pod)


def is_ready_pod(pod: Obj) -> bool:
    return is_true(pod, "Ready")


def drop_empty(fields: Obj, *, keep: Iterable[str] = ()) -> Obj:
    """Without zeros and empty values, as Go's `omitempty` leaves them out; `keep` stays."""
    kept = frozenset(keep)
    return {key: value for key, value in fields.items() if value or key in kept}
