"""A record in an annotation of somebody's object, stored with the change that it is of: pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

Json = dict[str, Any]
T = TypeVar("T")


def parse_annotation(obj: Json, name: str, parse: Callable[[Json], T]) -> tuple[str, T] | None:
    """The annotation of an object, as it stands there and parsed; None where it has none.

    Raises ValueError where there is one that `parse` fails on: somebody else's ktnet is newer, or
    somebody has edited it. Then nobody but people may decide.
    """
    text = (obj.get("metadata", {}).get("annotations") or {}).get(name)
    if text is None:
        return None
    try:
        return text, parse(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the annotation {name} is not understood: {error}") from error


def parse_selector(stored: Json) -> tuple[tuple[str, str], ...]:
    """A Service's selector, sorted. Raises ValueError where it is none."""
    selector = tuple(sorted(stored["selector"].items()))
    require(bool(selector) and all(isinstance(value, str) for _, value in selector), "selector")
    return selector


def require(holds: bool, what: str) -> None:
    """Raises ValueError, which names what isn't as it should be."""
    if not holds:
        raise ValueError(what)


def build_store(obj: Json, name: str, text: str) -> list[Json]:
    """The beginning of a JSON patch (RFC 6902): store, if the object is still as it was read."""
    metadata = obj["metadata"]
    # An empty map has to be there before something can be added to it.
    room = [] if metadata.get("annotations") else [build_add("/metadata/annotations", {})]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        *room,
        build_add(build_pointer(name), text),
    ]


def build_put_back(name: str, text: str, change: Json) -> list[Json]:
    """The whole of one: make the change and take the annotation away, while it is still this.

    422 says that somebody else has done so.
    """
    return [build_test(name, text), change, {"op": "remove", "path": build_pointer(name)}]


def build_test(name: str, text: str) -> Json:
    """Whether the annotation is still this."""
    return {"op": "test", "path": build_pointer(name), "value": text}


def build_lead(selector: dict[str, str]) -> Json:
    """Send a Service's traffic there. By `replace`: a merge patch would leave the old keys."""
    return {"op": "replace", "path": "/spec/selector", "value": selector}


def build_pointer(name: str) -> str:
    """Where the annotation is, as a JSON pointer (RFC 6901)."""
    return f"/metadata/annotations/{name.replace('~', '~0').replace('/', '~1')}"


def build_add(path: str, value: Any) -> Json:
    """One operation of a JSON patch."""
    return {"op": "add", "path": path, "value": value}
