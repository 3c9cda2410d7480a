"""`ktnet clean`: undo what sessions left behind that were killed."""

from __future__ import annotations

from typing import Literal

import click

from ktnet.commands.options import cluster_options
from ktnet.errors import KtnetError
from ktnet.session.options import ClusterOptions


@click.command()
@cluster_options
@click.option("--all-users", is_flag=True, help="Also what others left, silent for 10 minutes.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option(
    "--helper",
    type=click.Choice(["sudo", "none"]),
    default="sudo",
    show_default=True,
    help="How an ordinary user starts the part that changes this machine.",
)
def clean(
    cluster: ClusterOptions, all_users: bool, dry_run: bool, helper: Literal["sudo", "none"]
) -> None:
    """Undo what sessions left behind that were killed: on this machine, and in the namespace.

    What is alive is never touched. Things are put back before anything is deleted.
    """
    failure = None
    if not dry_run:
        # First: what a killed session left of routes and names may stand before the cluster.
        try:
            clean_host(helper)
        except KtnetError as error:
            failure = error
    try:
        clean_cluster(cluster, all_users=all_users, dry_run=dry_run)
    except KtnetError:
        if failure is not None:
            click.echo(f"! this machine could not be mended: {failure.message}", err=True)
        raise
    if failure is not None:
        failure.message = f"this machine could not be mended: {failure.message}"
        raise failure


def clean_cluster(cluster: ClusterOptions, *, all_users: bool, dry_run: bool) -> None:
    """The namespace's part; where there is no cluster to ask, that is said and nothing more."""
    import asyncio

    from ktnet.errors import UsageError
    from ktnet.session.leftovers import clean as clean_up

    try:
        found = asyncio.run(
            clean_up(cluster, all_users=all_users, dry_run=dry_run, tell=click.echo)
        )
    except UsageError as error:
        if cluster.context or cluster.kubeconfig:
            raise
        click.echo(f"no cluster was looked at: {error.message}")
        return
    if not found:
        click.echo("nothing of ktnet was left in the namespace")


def clean_host(helper: Literal["sudo", "none"]) -> None:
    """Links, routes and resolver of this machine, from the journal; living sessions keep theirs."""
    import asyncio

    from ktnet.host.client import mend_host

    for note in asyncio.run(mend_host(helper)) or ("nothing of ktnet was left on this machine",):
        click.echo(note)
