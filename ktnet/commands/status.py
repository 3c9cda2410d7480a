"""`ktnet status`: the sessions of this machine."""

from __future__ import annotations

from typing import Any

import click

from ktnet.commands.options import cluster_options, output_option
from ktnet.commands.words import show_table
from ktnet.session.options import ClusterOptions

CLUSTER_TIME_S = 5.0
"""For the cluster's side: `status` is asked most when something is broken."""


@click.command()
@cluster_options
@click.option("-A", "--all-namespaces", is_flag=True, help="Of the cluster, all namespaces.")
@click.option("--local", is_flag=True, help="Only this machine's; no cluster is asked.")
@output_option("table", "wide", "json")
def status(cluster: ClusterOptions, all_namespaces: bool, local: bool, output: str) -> None:
    """Show the sessions of this machine, and of all users in the namespace.

    Those of the cluster are known by their Leases: alive where their holders are there. Root sees
    those of this machine's other users too. -o wide also lists the connections that have carried
    most.

    \b
      ktnet status                 of this machine, and of the namespace
      ktnet status -A              of all namespaces
      ktnet status --local -o json for programs, without asking a cluster
    """
    import json

    from ktnet.commands.leftovers import mend_leftovers
    from ktnet.commands.neighbours import list_neighbours
    from ktnet.commands.sessions import read_sessions, show_sessions
    from ktnet.host.privileges import find_user, step_down

    mend_leftovers()
    neighbours = list_neighbours({0, find_user()})  # takes root's rights
    step_down()  # a user's sessions are registered as the user's
    sessions = read_sessions(connections=output != "table")
    others, error = ([], "") if local else ask_cluster(cluster, everywhere=all_namespaces)
    if output == "json":
        told = {"sessions": sessions, "other_users": neighbours, "cluster": others}
        click.echo(json.dumps(told | ({"cluster_error": error} if error else {}), indent=2))
        return
    show_sessions(sessions, wide=output == "wide")
    if neighbours:
        click.echo("\nof other users of this machine:")
        show_table(("user", "pid", "command", "namespace", "state", "since", "context"), neighbours)
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
