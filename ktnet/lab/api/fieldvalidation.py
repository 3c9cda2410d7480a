"""Fields that a kind doesn't have, and members given twice: dropped, told or refused. Pure.

kubernetes.io/docs/reference/using-api/api-concepts/#field-validation. Which fields there are stands
in fields.json, which is made from the API's published schema; custom resources are kept as they
come. Members given twice are seen in JSON bodies, not in YAML, nor in a patch's own text.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from ktnet.lab.api.errors import ApiError, Cause, bad_request, invalid

FIELDS = Path(__file__).with_name("fields.json")
MOST_COMPLAINTS = 100
"""sigs.k8s.io/json stops counting there."""


class Members(dict[str, Any]):
    """A JSON object that still knows how it was written; for `object_pairs_hook`."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


@cache
def load_fields() -> dict[str, dict[str, str]]:
    """By type its fields and their types; "" has no known fields, "{T}" is a map of T."""
    fields: dict[str, dict[str, str]] = json.loads(FIELDS.read_text())
    return fields


def keep_known(kind: str, value: Any) -> tuple[Any, list[str]]:
    """A built-in kind's object without the fields that it doesn't have, and what was wrong.

    A kind that isn't in the table keeps all.
    """
    complaints: list[str] = []
    kept = _keep(kind if kind in load_fields() else "", value, "", complaints)
    return kept, complaints[:MOST_COMPLAINTS]


def refuse(kind: str, version: str, complaints: list[str]) -> ApiError:
    """400, for a body that was to be decoded strictly."""
    return bad_request(
        f'{kind} in version "{version}" cannot be handled as a {kind}: {_build_error(complaints)}'
    )


def refuse_patch(patched: str, complaints: list[str]) -> ApiError:
    """422, for a patch whose result was to be decoded strictly; `patched` is that, quoted."""
    why = f"Invalid value: {patched}: {_build_error(complaints)}"
    return invalid("", "", "", [Cause("FieldValueInvalid", why, "patch")])


def _build_error(complaints: list[str]) -> str:
    return f"strict decoding error: {', '.join(complaints)}"


def _keep(kind: str, value: Any, path: str, complaints: list[str]) -> Any:
    if isinstance(value, list):
        return [
            _keep(kind, each, f"{path}[{index}]", complaints) for index, each in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    fields = load_fields().get(kind)
    of_any = kind[1:-1] if kind.startswith("{") else ""
    kept: dict[str, Any] = {}
    for key, each in value.pairs if isinstance(value, Members) else value.items():
        below = f"{path}.{key}" if path else key
        if key in kept:
            complaints.append(f'duplicate field "{below}"')
        if fields is not None and key not in fields:
            complaints.append(f'unknown field "{below}"')
        else:
            inner = of_any if fields is None else fields[key]
            kept[key] = _keep(inner, each, below, complaints)
    return kept
