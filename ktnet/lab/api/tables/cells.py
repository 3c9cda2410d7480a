"""How times, labels and lists are printed in a cell. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.metadata import parse_time

NONE = "<none>"
UNKNOWN = "<unknown>"

Cells = list[Any]
Printer = Callable[[Obj, datetime], Cells]
"""The cells of one object, at that time."""


@dataclass(frozen=True)
class Columns:
    """Of one kind: the names of the columns, how many of them are shown without being asked for."""

    names: tuple[str, ...]
    narrow: int
    print_cells: Printer
    conditions: Callable[[Obj], list[Obj]] | None = None

    def definitions(self) -> list[Obj]:
        """Without the descriptions, which nobody but people reads."""
        return [
            {
                "name": name,
                "type": "string",
                "format": "name" if name == "Name" else "",
                "description": "",
                "priority": 0 if index < self.narrow else 1,
            }
            for index, name in enumerate(self.names)
        ]


def format_duration(seconds: int) -> str:  # noqa: PLR0911 -- one answer for each size
    """Two units at most (HumanDuration of k8s.io/apimachinery/pkg/util/duration)."""
    if seconds < 0:
        return "0s" if seconds >= -1 else "<invalid>"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def format_since(moment: str | None, now: datetime) -> str:
    """How long ago a time on the wire was."""
    if not moment:
        return UNKNOWN
    return format_duration(int((now - parse_time(moment)).total_seconds()))


def format_age(obj: Obj, now: datetime) -> str:
    return format_since(obj["metadata"].get("creationTimestamp"), now)


def format_labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def format_some(items: Iterable[str], most: int = 3) -> str:
    """The first few of a list."""
    listed = list(items)
    if not listed:
        return NONE
    shown = ",".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} + {len(listed) - most} more..."


def name_of(obj: Obj) -> str:
    return str(obj["metadata"]["name"])
