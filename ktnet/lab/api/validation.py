"""Whether a write is acceptable: what all kinds share, then the kind's own checks. Pure."""

from __future__ import annotations

from typing import Any

from ktnet.lab.api.errors import ApiError, Cause, Obj, bad_request, invalid
from ktnet.lab.api.fieldcheck import FieldCheck, quote
from ktnet.lab.api.metadata import check_metadata
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.shapecheck import Undecodable, check_shape
from ktnet.lab.api.strategies.strategy import Strategy


def check_decodable(kind: str, obj: Obj) -> None:
    """Raises ApiError 400."""
    try:
        check_shape(kind, obj)
    except Undecodable as error:
        raise bad_request(
            f'{kind} in version "v1" cannot be handled as a {kind}: {error}'
        ) from error


def check_created(resource: Resource, strategy: Strategy, obj: Obj) -> None:
    """Raises ApiError 422."""
    meta, check = obj["metadata"], FieldCheck()
    if not meta.get("name"):
        check.required("metadata.name", "name or generateName is required")
    else:
        strategy.check_name(check, meta["name"])
    check_metadata(check, meta)
    strategy.check(check, obj)
    strategy.check_create(check, obj)
    _raise(resource, meta.get("name", ""), check)


def check_updated(resource: Resource, strategy: Strategy, new: Obj, old: Obj) -> None:
    """Raises ApiError 422."""
    check = FieldCheck()
    check_metadata(check, new["metadata"])
    if strategy.checks_changes_first:
        strategy.check_update(check, new, old)
    strategy.check(check, new)
    if not strategy.checks_changes_first:
        strategy.check_update(check, new, old)
    _raise(resource, old["metadata"]["name"], check)


def _raise(resource: Resource, name: str, check: FieldCheck) -> None:
    if check.causes:
        raise invalid(resource.group, resource.kind, name, check.causes)


def unconditional(resource: Resource, name: str) -> ApiError:
    """A PUT without resourceVersion where the kind insists on one."""
    cause = Cause(
        "FieldValueInvalid",
        "Invalid value: 0: must be specified for an update",
        "metadata.resourceVersion",
    )
    return invalid(resource.group, resource.plural, name, [cause])


def check_patched(resource: Resource, old: Obj, new: Any) -> Obj:
    """The result of a patch: still the same object; raises ApiError 400 or 422."""
    try:
        check_shape(old["kind"], new)
    except Undecodable as error:
        shown = quote(quote(new))
        cause = Cause("FieldValueInvalid", f"Invalid value: {shown}: {error}", "patch")
        raise invalid("", "", "", [cause]) from error
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise bad_request(f"the patched {resource.kind} is no object")
    before, after = old["metadata"], new["metadata"]
    if after.get("name") != before["name"]:
        raise bad_request(
            f"the name of the object ({after.get('name')}) does not match the name on the URL "
            f"({before['name']})"
        )
    if after.get("namespace") != before.get("namespace"):
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if after.get("uid") not in {None, before["uid"]}:
        check = FieldCheck()
        # Said twice by a real API server: by the check of all objects and by that of the kind.
        check.immutable("metadata.uid", after["uid"], before["uid"])
        check.immutable("metadata.uid", after["uid"], before["uid"])
        refusal = invalid(resource.group, resource.kind, before["name"], check.causes)
        once = f"{check.causes[0].field}: {check.causes[0].message}"
        refusal.message = refusal.message.replace(f"[{once}, {once}]", once)
        raise refusal
    return new
