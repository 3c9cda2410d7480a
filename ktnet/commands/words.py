"""Numbers and tables for people."""

from __future__ import annotations

from typing import Any

import click

_UNITS = ("B", "kB", "MB", "GB", "TB")


def describe_bytes(count: float) -> str:
    """In powers of 1000, as the dashboard's page: "3.4 MB"."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}" if unit and count < 100 else f"{count:.0f} {_UNITS[unit]}"


def describe_seconds(seconds: float) -> str:
    """Of what takes a moment: "340 µs", "2.1 ms", "1.4 s"."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def show_table(columns: tuple[str, ...], records: list[dict[str, Any]]) -> None:
    """Left-aligned, as wide as its cells."""
    rows = [columns, *(tuple(str(record.get(c, "")) for c in columns) for record in records)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
