"""Collects what is wrong with an object's fields, in the words of a real API server. Pure.

The formats are those of k8s.io/apimachinery/pkg/util/validation/field/errors.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ktnet.lab.api.errors import Cause


def quote(value: Any) -> str:
    """A value as messages show it: JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class FieldCheck:
    """The causes of one 422 answer, in the order in which they were found."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []

    def required(self, field: str, detail: str = "") -> None:
        self._add("FieldValueRequired", field, "Required value" + (f": {detail}" if detail else ""))

    def invalid(self, field: str, value: Any, detail: str) -> None:
        self._add("FieldValueInvalid", field, f"Invalid value: {quote(value)}: {detail}")

    def unsupported(self, field: str, value: Any, supported: Iterable[str]) -> None:
        listed = ", ".join(quote(each) for each in supported)
        self._add(
            "FieldValueNotSupported",
            field,
            f"Unsupported value: {quote(value)}: supported values: {listed}",
        )

    def forbidden(self, field: str, detail: str) -> None:
        self._add("FieldValueForbidden", field, f"Forbidden: {detail}")

    def too_long(self, field: str, most_bytes: int) -> None:
        self._add("FieldValueTooLong", field, f"Too long: may not be more than {most_bytes} bytes")

    def duplicate(self, field: str, value: Any) -> None:
        self._add("FieldValueDuplicate", field, f"Duplicate value: {quote(value)}")

    def not_found(self, field: str, value: Any) -> None:
        self._add("FieldValueNotFound", field, f"Not found: {quote(value)}")

    def not_negative(self, field: str, value: Any) -> None:
        """Checks a number that may be absent."""
        if isinstance(value, int) and value < 0:
            self.invalid(field, value, "must be greater than or equal to 0")

    def port(self, field: str, value: Any) -> None:
        """Checks a port number."""
        if isinstance(value, int) and not 1 <= value <= 65535:
            self.invalid(field, value, "must be between 1 and 65535, inclusive")

    def immutable(self, field: str, new: Any, old: Any) -> None:
        if new != old:
            self.invalid(field, new, "field is immutable")

    def _add(self, reason: str, field: str, message: str) -> None:
        self.causes.append(Cause(reason, message, field))
