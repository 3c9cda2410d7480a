"""Whose request is it: read from its headers. Pure.

A mark is a header field's value (`version: alice`), or the same as a member of the W3C `baggage`
field (`baggage: version=alice`), which travels through services that pass on only that.
https://www.w3.org/TR/baggage/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar
from urllib.parse import unquote_to_bytes

T = TypeVar("T")

Marks = Mapping[bytes, Mapping[bytes, T]]
"""By key (in lower case), then by value, who wants such requests."""


def find_marked(fields: Iterable[tuple[bytes, bytes]], marks: Marks[T]) -> T | None:
    """Who wants the request with these fields (names in lower case); None: nobody.

    A field of its own says more than baggage, which somebody else may have packed; of several that
    fit, the first counts.
    """
    packed: T | None = None
    for name, value in fields:
        wanted = marks.get(name)
        if wanted is not None and (found := wanted.get(value)) is not None:
            return found
        if packed is None and name == b"baggage":
            packed = _find_packed(value, marks)
    return packed


def _find_packed(baggage: bytes, marks: Marks[T]) -> T | None:
    for member in baggage.split(b","):
        key, separator, rest = member.partition(b"=")
        wanted = marks.get(key.strip(b" \t").lower()) if separator else None
        if wanted is not None:
            value = unquote_to_bytes(rest.partition(b";")[0].strip(b" \t"))
            if (found := wanted.get(value)) is not None:
                return found
    return None
