"""Quantities (500m, 64Mi, 2): what they are worth, and how they are written. Pure.

kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import Decimal

_BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4, "Pi": 1024**5, "Ei": 1024**6}
_DECIMAL = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([A-Za-z]*))")


def parse_quantity(text: str | int) -> Decimal:
    """What a quantity is worth; raises ValueError for what is none."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None:
        raise ValueError(f"no quantity: {text!r}")
    number, exponent, suffix = Decimal(found[1]), found[2], found[3] or ""
    if exponent:
        return Decimal(found[1] + exponent)
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    if suffix not in _DECIMAL:
        raise ValueError(f"no quantity: {text!r}")
    return number * _DECIMAL[suffix]


def format_quantity(value: Decimal, like: str | int = "") -> str:
    """Its canonical form: the largest suffix that leaves a whole number.

    In powers of 1024 where `like` is written so, else of 1000.
    """
    if any(str(like).endswith(suffix) for suffix in _BINARY) and value == value.to_integral():
        for suffix, factor in reversed(_BINARY.items()):
            if value and value % factor == 0:
                return f"{int(value) // factor}{suffix}"
        return str(int(value))
    for suffix, unit in sorted(_DECIMAL.items(), key=lambda each: -each[1]):
        if value and value % unit == 0:
            return f"{int(value / unit)}{suffix}"
    return str(int(value))


def add_quantities(*values: str | int) -> str:
    """Their sum, written as the first of them that isn't nothing is."""
    like = next((each for each in values if parse_quantity(each)), "")
    return format_quantity(sum((parse_quantity(each) for each in values), Decimal(0)), like)
