"""Merge patch (RFC 7386) and JSON patch (RFC 6902). Pure: nothing is changed in place."""

from __future__ import annotations

import copy
import json
from typing import Any

from ktnet.lab.api.errors import bad_request, rejected

MOST_OPERATIONS = 10_000
"""Of one JSON patch, as a real API server limits it."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386 section 2: null removes, objects are merged, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    # What was merged comes out sorted, as Go writes its maps: a refusal shows it.
    return dict(sorted(merged.items()))


def json_patch(target: Any, patch: Any) -> Any:
    """RFC 6902; raises ApiError 400 for what is no patch, 422 for what can't be applied."""
    for operation in _check_operations(patch):
        target = _apply(target, operation)
    return target


def _check_operations(patch: Any) -> list[dict[str, Any]]:
    kinds = {dict: "object", str: "string", bool: "bool", int: "number", float: "number"}
    if not isinstance(patch, list):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {kinds.get(type(patch), 'null')} "
            "into Go value of type []handlers.jsonPatchOp"
        )
    if len(patch) > MOST_OPERATIONS:
        raise bad_request(
            f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(patch)}"
        )
    for operation in patch:
        if not isinstance(operation, dict):
            raise bad_request(
                f"error decoding patch: json: cannot unmarshal {kinds.get(type(operation), 'null')}"
                " into Go value of type handlers.jsonPatchOp"
            )
    return patch


def _apply(target: Any, operation: dict[str, Any]) -> Any:
    path = _parse_pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _add(target, path, _value(operation))
        case "remove":
            return _remove(target, path)
        case "replace":
            return _replace(target, path, _value(operation))
        case "move":
            source = _parse_pointer(operation.get("from"))
            moved = _read(target, source)
            return _add(_remove(target, source), path, moved)
        case "copy":
            source = _parse_pointer(operation.get("from"))
            return _add(target, path, copy.deepcopy(_read(target, source)))
        case "test":
            # A missing path tests equal to null only (evanphx/json-patch, which Kubernetes uses).
            if not _same(_find(target, path), operation.get("value")):
                raise rejected()
            return target
    raise rejected()


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise rejected()
    return operation["value"]


def _parse_pointer(pointer: Any) -> list[str]:
    """RFC 6901."""
    if pointer == "":
        return []
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise rejected()
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _index(part: str, length: int) -> int:
    """A position in an array of that many elements."""
    if not part.isascii() or not part.isdigit() or (len(part) > 1 and part[0] == "0"):
        raise rejected()
    index = int(part)
    if index >= length:
        raise rejected()
    return index


def _read(target: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(target, dict) and part in target:
            target = target[part]
        elif isinstance(target, list):
            target = target[_index(part, len(target))]
        else:
            raise rejected()
    return target


def _find(target: Any, path: list[str]) -> Any:
    """Like `_read`, but None where the last step leads nowhere."""
    if not path:
        return target
    parent = _read(target, path[:-1])
    if isinstance(parent, dict):
        return parent.get(path[-1])
    return _read(parent, path[-1:])


def _add(target: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(target, dict):
        if rest and first not in target:
            raise rejected()
        return {**target, first: _add(target.get(first), rest, value)}
    if isinstance(target, list):
        if rest:
            index = _index(first, len(target))
            return [*target[:index], _add(target[index], rest, value), *target[index + 1 :]]
        index = len(target) if first == "-" else _index(first, len(target) + 1)
        return [*target[:index], value, *target[index:]]
    raise rejected()


def _replace(target: Any, path: list[str], value: Any) -> Any:
    parent = _read(target, path[:-1]) if path else None
    if isinstance(parent, list):
        target = _remove(target, path)
    # A member that is absent is added: evanphx/json-patch, which Kubernetes uses, does not look.
    return _add(target, path, value)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: to Python, true and 1 are the same."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _remove(target: Any, path: list[str]) -> Any:
    if not path:
        return None
    first, rest = path[0], path[1:]
    if isinstance(target, dict) and first in target:
        if rest:
            return {**target, first: _remove(target[first], rest)}
        return {key: value for key, value in target.items() if key != first}
    if isinstance(target, list):
        index = _index(first, len(target))
        kept = [_remove(target[index], rest)] if rest else []
        return [*target[:index], *kept, *target[index + 1 :]]
    raise rejected()
