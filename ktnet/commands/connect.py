"""`ktnet connect`: parse, open the session, say what happens, wait, undo."""

from __future__ import annotations

from ipaddress import IPv4Network

import click

from ktnet.commands.options import cluster_options, progress_options, shadow_options
from ktnet.commands.progress import Progress
from ktnet.commands.types import CIDR, DOMAIN
from ktnet.session.options import ClusterOptions, ConnectOptions, ShadowOptions


@click.command()
@cluster_options
@shadow_options
@click.option(
    "--include", type=CIDR, multiple=True, help="Capture this network too; may be repeated."
)
@click.option(
    "--exclude", type=CIDR, multiple=True, help="Never capture this network; may be repeated."
)
@click.option(
    "--cluster-domain",
    type=DOMAIN,
    metavar="DOMAIN",
    default="cluster.local",
    show_default=True,
    help="The cluster's DNS domain.",
)
@click.option(
    "--dns-include",
    type=DOMAIN,
    multiple=True,
    help="Ask the cluster for names under this suffix too; may be repeated.",
)
@click.option(
    "--dns-exclude",
    type=DOMAIN,
    multiple=True,
    help="Never ask the cluster for names under this suffix; may be repeated.",
)
@progress_options
def connect(
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    include: tuple[IPv4Network, ...],
    exclude: tuple[IPv4Network, ...],
    cluster_domain: str,
    dns_include: tuple[str, ...],
    dns_exclude: tuple[str, ...],
    progress: Progress,
) -> None:
    """Join this machine to the cluster's network.

    Until Ctrl-C (or `ktnet disconnect`), every Service, pod address and DNS name of the cluster
    is reachable from this machine; then all of it is undone.
    """
    from ktnet.commands.foreground import run_in_foreground
    from ktnet.session.connect import open_session

    options = ConnectOptions(
        cluster=cluster,
        shadow=shadow,
        include=include,
        exclude=exclude,
        cluster_domain=cluster_domain,
        dns_include=dns_include,
        dns_exclude=dns_exclude,
    )
    identity = {"namespace": cluster.namespace or "", "context": cluster.context or ""}
    run_in_foreground("connect", identity, open_session(options, progress), progress)
