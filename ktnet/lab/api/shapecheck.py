"""Refuses a body of the wrong shape, so that no later code meets a string where it expects a list.

The words are those of Go's decoder. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from ktnet.lab.api.shapes import META, SHAPES
from ktnet.lab.api.shapetypes import BOOL, INT_OR_STRING, MICRO_TIME, STRING, TIME_LAYOUT, Shape

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{6})?(.*)", re.ASCII | re.DOTALL)
_ZONE = re.compile(r"Z|[+-]\d\d:\d\d", re.ASCII)


class Undecodable(Exception):
    """An object that does not have its kind's shape; says why in the words of Go's decoder."""


def check_shape(kind: str, obj: Any) -> None:
    """Raises Undecodable where a field of an object is of the wrong type."""
    _check(
        kind,
        "",
        obj,
        {"metadata": META, "kind": STRING, "apiVersion": STRING, **SHAPES.get(kind, {})},
    )


def _check(kind: str, path: str, value: Any, shape: Shape) -> None:
    if value is None:
        return
    if isinstance(shape, str):
        if not _fits(value, shape):
            raise _mismatch(kind, path, value, shape)
        if shape == MICRO_TIME:
            _check_time(value)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _mismatch(kind, path, value, "[]object")
        for each in value:
            if each is None:
                raise Undecodable(f"{kind}{path} holds a null")
            _check(kind, path, each, shape[0])
    else:
        if not isinstance(value, dict):
            raise _mismatch(kind, path, value, "object")
        for key, each in value.items():
            inner = shape.get("*", shape.get(key))
            if inner is not None:
                # Go names the map's field, not the key within it.
                below = path if "*" in shape else f"{path}.{key}"
                _check(kind, below, each, inner)


def _fits(value: Any, shape: str) -> bool:
    if shape in {STRING, MICRO_TIME}:
        return isinstance(value, str)
    if shape == BOOL:
        return isinstance(value, bool)
    number = isinstance(value, int) and not isinstance(value, bool)
    return number or (shape == INT_OR_STRING and isinstance(value, str))


def _mismatch(kind: str, path: str, value: Any, wanted: str) -> Undecodable:
    found = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}
    return Undecodable(
        f"json: cannot unmarshal {found.get(type(value), 'object')} into Go struct field "
        f"{kind}{path} of type {wanted}"
    )


def _check_time(text: str) -> None:
    """A MicroTime, as Go's time.Parse reads it."""
    match = _TIME.fullmatch(text)
    rest, part = text, "2006"
    if match is not None:
        _, fraction, rest = match.groups()
        part = ".000000" if fraction is None else "Z07:00"
        if fraction is not None and _ZONE.fullmatch(rest):
            return
    raise Undecodable(
        f'parsing time "{text}" as "{TIME_LAYOUT}": cannot parse "{rest}" as "{part}"'
    )
