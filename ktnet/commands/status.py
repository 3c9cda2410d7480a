"""`ktnet status`: the sessions of this machine."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
def status(output: str) -> None:
    """Show the sessions of this machine."""
    import json

    from ktnet.commands.leftovers import mend_leftovers
    from ktnet.control import list_sessions
    from ktnet.host.privileges import step_down

    mend_leftovers()
    step_down()  # a user's sessions are registered as the user's
    sessions = list_sessions()
    if output == "json":
        click.echo(json.dumps({"sessions": sessions}, indent=2))
        return
    if not sessions:
        click.echo("no sessions")
        return
    columns = ("pid", "command", "namespace", "state", "since", "context")
    rows = [columns, *(tuple(str(s.get(c, "")) for c in columns) for s in sessions)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    for session in sessions:
        if "tunnel" in session:
            click.echo(f"pid {session['pid']} tunnel: {describe_tunnel(session['tunnel'])}")
        if "dns" in session:
            click.echo(f"pid {session['pid']} names: {describe_names(session['dns'])}")


def describe_tunnel(tunnel: dict[str, Any]) -> str:
    """How the tunnel is, and how often it has come back."""
    told = f"{tunnel['state']} since {tunnel['since']}, {tunnel['reconnects']} reconnects"
    return f"{told}; last: {tunnel['reason']}" if tunnel["reason"] else told


def describe_names(counts: dict[str, int]) -> str:
    """How many queries there were for whose names, and what became of them."""
    zones = (
        f"{zone} {counts[zone]} ({counts[f'{zone}_cached']} from memory, "
        f"{counts[f'{zone}_failures']} failed)"
        for zone in ("cluster", "outside")
    )
    return f"{counts['queries']} queries; {', '.join(zones)}"
