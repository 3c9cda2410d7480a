"""Lists: selection, pages and what a list says of itself. Pure."""

from __future__ import annotations

from ktnet.lab.api.errors import ApiError, Cause, Obj, expired
from ktnet.lab.api.query import ListOptions, build_continue, parse_version
from ktnet.lab.api.resources import Resource

_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter, or use the continue token in this response "
    "to retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)
_LIST_EXPIRED = "The resourceVersion for the provided list is too old."
RETRY_AFTER_S = 1


def choose_version(options: ListOptions, version: int) -> int:
    """As of which resourceVersion a list is asked for, given the current one.

    Raises ApiError 504 for one that is still to come.
    """
    if options.start is not None:
        started = options.start[0]
        return version if started < 0 else started
    if options.version in {"", "0"}:
        return version
    wanted = parse_version(options.version)
    if wanted > version:
        cause = Cause("ResourceVersionTooLarge", "Too large resource version")
        raise ApiError(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {wanted}, current: {version}",
            {"causes": [cause.body()], "retryAfterSeconds": RETRY_AFTER_S},
            {"Retry-After": str(RETRY_AFTER_S)},
        )
    return wanted if options.exact else version


def too_old(options: ListOptions) -> ApiError:
    """410 for a list as of a version that is not known any more."""
    if options.start is None:
        return expired(_LIST_EXPIRED)
    return expired(_CONTINUE_EXPIRED, continue_token=build_continue(-1, options.start[1]))


def build_list(resource: Resource, objects: list[Obj], options: ListOptions, version: int) -> Obj:
    """A list of those of the objects (given in order) that are selected and on this page."""
    selected = [obj for obj in objects if options.selects(obj)]
    if options.start is not None:
        selected = [obj for obj in selected if place_key(obj) > options.start[1]]
    meta: Obj = {"resourceVersion": str(version)}
    page = selected[: options.limit] if options.limit > 0 else selected
    if len(page) < len(selected):
        meta["continue"] = build_continue(version, place_key(page[-1]))
        if not options.selective:
            meta["remainingItemCount"] = len(selected) - len(page)
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": meta,
        "items": [_as_item(resource, obj) for obj in page],
    }


def place_key(obj: Obj) -> str:
    """Where an object comes in a list: as etcd orders its keys."""
    meta = obj["metadata"]
    return f"{meta.get('namespace', '')}/{meta['name']}"


def _as_item(resource: Resource, obj: Obj) -> Obj:
    if resource.custom:
        # Custom resources have no Go type, so each of them has to say what it is.
        return {**obj, "apiVersion": resource.api_version}
    return {key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}}


def strip_to_metadata(obj: Obj) -> Obj:
    """An object as PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def strip_list(listed: Obj) -> Obj:
    """A list as PartialObjectMetadataList."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": listed["metadata"],
        "items": [strip_to_metadata(item) for item in listed["items"]],
    }
