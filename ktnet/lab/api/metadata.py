"""What every object's `metadata` goes through, whatever its kind.

kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ktnet.lab.api.errors import ApiError, Obj, bad_request
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.names import check_annotations, check_labels
from ktnet.lab.api.resources import Resource

Clock = Callable[[], datetime]
"""Says what time it is, in UTC."""

SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes, so that no words arise (apimachinery util/rand)."""
SUFFIX_LENGTH = 5
MOST_GENERATED_BASE = 63 - SUFFIX_LENGTH

_SERVER_OWNED = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
"""What a client sends is ignored or checked, never taken over."""

_FIRST = (
    "name",
    "generateName",
    "namespace",
    *_SERVER_OWNED,
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
)


def utc_now() -> datetime:
    return datetime.now(UTC)


def format_time(moment: datetime) -> str:
    """`metav1.Time` on the wire: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def random_suffix() -> str:
    """What is put behind a generateName."""
    return "".join(random.choice(SUFFIX_LETTERS) for _ in range(SUFFIX_LENGTH))  # noqa: S311


def drop_nulls(value: Any) -> Any:
    """A copy without nulls in objects: to Go's decoder, null and absent are the same."""
    if isinstance(value, dict):
        return {key: drop_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [drop_nulls(each) for each in value]
    return value


def tidy(obj: Obj, resource: Resource) -> Obj:
    """An object's fields in their usual order, its kind filled in, empty metadata left out."""
    meta = obj["metadata"]
    kept = {key: meta[key] for key in _FIRST if meta.get(key) not in (None, "", {}, [])}
    if "deletionTimestamp" in kept and "deletionGracePeriodSeconds" in meta:
        kept["deletionGracePeriodSeconds"] = meta["deletionGracePeriodSeconds"]
    rest = {k: v for k, v in obj.items() if k not in {"kind", "apiVersion", "metadata"}}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": kept, **rest}


def check_place(obj: Obj, resource: Resource, namespace: str | None) -> None:
    """The namespace in an object must be that of its path; raises ApiError 400."""
    named = obj["metadata"].get("namespace") or ""
    if named and resource.namespaced and named != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def build_created(obj: Obj, resource: Resource, namespace: str | None, now: datetime) -> Obj:
    """The metadata of a new object (all but its resourceVersion)."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in _SERVER_OWNED}
    if obj["metadata"].get("resourceVersion"):
        raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = meta["generateName"][:MOST_GENERATED_BASE] + random_suffix()
    if resource.namespaced:
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)
    meta["uid"] = str(uuid.uuid4())
    meta["creationTimestamp"] = format_time(now)
    return {**obj, "metadata": meta}


def build_updated(new: Obj, old: Obj) -> Obj:
    """New metadata over old: what the server owns stays as it was."""
    meta = {key: value for key, value in new["metadata"].items() if key not in _SERVER_OWNED}
    owned = {key: old["metadata"][key] for key in _SERVER_OWNED if key in old["metadata"]}
    place = {key: old["metadata"][key] for key in ("name", "namespace") if key in old["metadata"]}
    return {**new, "metadata": {**meta, **owned, **place}}


def check_metadata(check: FieldCheck, meta: Obj, *, field: str = "metadata") -> None:
    """Labels, annotations and owners; names are checked by each kind's own rules."""
    check_labels(check, f"{field}.labels", meta.get("labels") or {})
    check_annotations(check, f"{field}.annotations", meta.get("annotations") or {})
    _check_owners(check, f"{field}.ownerReferences", meta.get("ownerReferences") or [])


def _check_owners(check: FieldCheck, field: str, owners: list[Obj]) -> None:
    controllers = []
    for owner in owners:
        if not owner.get("apiVersion"):
            check.invalid(f"{field}.apiVersion", "", "version must not be empty")
        for key in ("kind", "name", "uid"):
            if not owner.get(key):
                check.invalid(f"{field}.{key}", "", "must not be empty")
        if owner.get("controller"):
            controllers.append(owner)
    if len(controllers) > 1:
        first, second = controllers[:2]
        check.invalid(
            field,
            owners,
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{first.get('kind')}/{first.get('name')} and "
            f"{second.get('kind')}/{second.get('name')}",
        )
