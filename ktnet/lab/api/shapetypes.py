"""How the shape of a kind's JSON is written down: scalars, objects, lists. Pure."""

from __future__ import annotations

from typing import Any, Final

STRING: Final = "string"
INT: Final = "int32"
BOOL: Final = "bool"
INT_OR_STRING: Final = "intstr.IntOrString"
MICRO_TIME: Final = "v1.MicroTime"

TIME_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
"""Of a MicroTime: six fractional digits, neither more nor fewer."""


Shape = str | dict[str, Any] | list[Any]
"""A scalar's Go type; a dict of members (of "*": any) or a list of one shape."""

STRINGS: Final = {"*": STRING}
