"""Strategic merge patch: lists of objects are merged by a key instead of replaced. Pure.

github.com/kubernetes/community, contributors/devel/sig-api-machinery/strategic-merge-patch.md. The
keys below are those of the API types' `patchMergeKey` tags; a list that is not named here is
replaced, as one without a tag is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktnet.lab.api.errors import Obj, bad_request

_CONTAINER = {
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
}
_POD_SPEC = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
MERGE_KEYS: Mapping[str, str] = {
    **_CONTAINER,
    **_POD_SPEC,
    "ownerReferences": "uid",
    "conditions": "type",
    "addresses": "type",
    "secrets": "name",
    "podIPs": "ip",
    "hostIPs": "ip",
}
"""By the name of the member that holds the list."""

_SERVICE_PORTS = "port"
_SETS = frozenset({"finalizers"})
"""Lists of strings that are merged as sets."""
_REPLACES = frozenset({"strategy"})
"""Objects with `$retainKeys`: which members remain is said by the patch."""


def strategic_patch(target: Any, patch: Any) -> Any:
    """Raises ApiError 400 for what is no patch."""
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into an object")
    is_service = isinstance(target, dict) and target.get("kind") == "Service"
    return _merge(
        target, patch, {**MERGE_KEYS, "ports": _SERVICE_PORTS} if is_service else MERGE_KEYS
    )


def _merge(target: Any, patch: Any, keys: Mapping[str, str]) -> Any:
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) and directive != "replace" else {}
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        merged = {key: value for key, value in merged.items() if key in retained}
    for key, value in patch.items():
        if key.startswith("$"):
            _apply_directive(merged, key, value)
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, list):
            merged[key] = _merge_list(key, merged.get(key), value, keys)
        else:
            merged[key] = _merge(merged.get(key), value, keys)
    return merged


def _apply_directive(merged: Obj, key: str, value: Any) -> None:
    prefix = "$deleteFromPrimitiveList/"
    if key.startswith(prefix) and isinstance(value, list):
        name = key.removeprefix(prefix)
        merged[name] = [each for each in merged.get(name) or [] if each not in value]


def _merge_list(name: str, target: Any, patch: list[Any], keys: Mapping[str, str]) -> list[Any]:
    old = target if isinstance(target, list) else []
    if name in _SETS:
        return [*old, *(each for each in patch if each not in old)]
    key = keys.get(name)
    if key is None or not all(isinstance(each, dict) for each in [*old, *patch]):
        return patch
    if any(each.get("$patch") == "replace" for each in patch):
        return [each for each in patch if "$patch" not in each]
    gone = {each.get(key) for each in patch if each.get("$patch") == "delete"}
    known = {each.get(key): each for each in old}
    changed: dict[Any, Any] = {}
    for each in patch:
        if "$patch" in each:
            continue
        if key not in each:
            raise bad_request(f"map: {each} does not contain declared merge key: {key}")
        changed[each[key]] = _merge(known.get(each[key], {}), each, keys)
    untouched = [each for each in old if each.get(key) not in gone | changed.keys()]
    return _interleave(untouched, list(changed.values()), [each.get(key) for each in old], key)


def _interleave(untouched: list[Any], changed: list[Any], order: list[Any], key: str) -> list[Any]:
    """Both in one list: elements known before keep their order, new ones come as the patch says."""
    merged: list[Any] = []
    rest = list(untouched)
    for each in changed:
        if each.get(key) in order:
            position = order.index(each.get(key))
            while rest and order.index(rest[0].get(key)) < position:
                merged.append(rest.pop(0))
        merged.append(each)
    return [*merged, *rest]
