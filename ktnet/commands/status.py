"""`ktnet status`: the sessions of this machine."""

from __future__ import annotations

from typing import Any

import click

from ktnet.commands.options import cluster_options
from ktnet.session.options import ClusterOptions

CLUSTER_TIME_S = 5.0
"""For the cluster's side: `status` is asked most when something is broken."""


@click.command()
@cluster_options
@click.option("-A", "--all-namespaces", is_flag=True, help="Of the cluster, all namespaces.")
@click.option("--local", is_flag=True, help="Only this machine's; no cluster is asked.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
def status(cluster: ClusterOptions, all_namespaces: bool, local: bool, output: str) -> None:
    """Show the sessions of this machine, and of all users in the namespace.

    Those of the cluster are known by their Leases: alive where their holders are there.
    """
    import json

    from ktnet.commands.leftovers import mend_leftovers
    from ktnet.control import list_sessions
    from ktnet.host.privileges import step_down

    mend_leftovers()
    step_down()  # a user's sessions are registered as the user's
    sessions = list_sessions()
    others, error = ([], "") if local else ask_cluster(cluster, everywhere=all_namespaces)
    if output == "json":
        told = {"sessions": sessions, "cluster": others}
        click.echo(json.dumps(told | ({"cluster_error": error} if error else {}), indent=2))
        return
    show_sessions(sessions, wide=output == "wide")
    if error:
        click.echo(f"the cluster's side is not known: {error}")
    elif others:
        click.echo("\nin the cluster:")
        columns = ("namespace", "name", "command", "holder", "since", "state", "holds")
        show_table(columns, [build_row(each) for each in others])


def ask_cluster(cluster: ClusterOptions, *, everywhere: bool) -> tuple[list[dict[str, Any]], str]:
    """The sessions that the cluster knows, and what stood in the way of knowing them."""
    import asyncio
    from dataclasses import asdict

    from ktnet.errors import KtnetError
    from ktnet.session.leftovers import list_all_sessions

    async def ask() -> list[dict[str, Any]]:
        async with asyncio.timeout(CLUSTER_TIME_S):
            return [asdict(v) for v in await list_all_sessions(cluster, everywhere=everywhere)]

    try:
        return asyncio.run(ask()), ""
    except KtnetError as error:
        return [], error.message
    except TimeoutError:
        return [], f"the API server took more than {CLUSTER_TIME_S:.0f} s"


def build_row(view: dict[str, Any]) -> dict[str, str]:
    """For people."""
    from ktnet.cluster.holding import describe_silence

    state = "alive" if view["alive"] else f"dead, silent for {describe_silence(view['silent_s'])}"
    return {**view, "state": state, "holds": ", ".join(view["holds"])}


def show_table(columns: tuple[str, ...], records: list[dict[str, Any]]) -> None:
    """Left-aligned, as wide as its cells."""
    rows = [columns, *(tuple(str(record.get(c, "")) for c in columns) for record in records)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def show_sessions(sessions: list[dict[str, Any]], *, wide: bool) -> None:
    """This machine's."""
    if not sessions:
        click.echo("no sessions")
        return
    columns = ("pid", "command", "namespace", "state", "since", "context")
    show_table((*columns, "session", "pod", "via", "ssh") if wide else columns, sessions)
    for session in sessions:
        if "tunnel" in session:
            click.echo(f"pid {session['pid']} tunnel: {describe_tunnel(session['tunnel'])}")
        if not session.get("icmp_errors", True):
            from ktnet.session.state import WITHOUT_ICMP

            click.echo(f"pid {session['pid']} firewall: {WITHOUT_ICMP}")
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
