"""`ktnet exchange`: parse, open the session, say what happens, wait, undo."""

from __future__ import annotations

from typing import Literal

import click

from ktnet.commands.options import (
    cluster_options,
    detach_option,
    expose_option,
    progress_options,
    standing_shadow_options,
)
from ktnet.commands.progress import Progress
from ktnet.session.options import ClusterOptions, ShadowOptions


@click.command()
@click.argument("name")
@cluster_options
@standing_shadow_options
@expose_option("the pods, by number or name")
@click.option(
    "--mode",
    type=click.Choice(["scale", "selector"]),
    default="scale",
    show_default=True,
    help="Scale the workload to 0, or lead its Service elsewhere while its pods stay.",
)
@click.option(
    "--on-disconnect",
    type=click.Choice(["origin", "refuse"]),
    default="origin",
    show_default=True,
    help="With --mode selector: who gets the requests while this machine is away.",
)
@click.option(
    "--recover-wait",
    "recover_wait_s",
    metavar="SECONDS",
    type=click.FloatRange(0, 3600),
    default=120,
    show_default=True,
    help="At the end, wait so long for the workload to be ready again.",
)
@detach_option("it is exchanged")
@progress_options
def exchange(
    name: str,
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    expose: tuple[str, ...],
    mode: Literal["scale", "selector"],
    on_disconnect: str,
    recover_wait_s: float,
    detach: bool,
    progress: Progress,
) -> None:
    """Have this machine serve the requests of a workload of the cluster.

    NAME is a Deployment or StatefulSet (tomcat, deployment/tomcat, statefulset/db) or, with
    --mode selector, a Service. Until Ctrl-C (or `ktnet disconnect`) its requests come to LOCAL
    here; then everything is put back.

    \b
      ktnet exchange tomcat --expose 8080
    """
    from ktnet.cluster.exchange.exposure import parse_exposures
    from ktnet.commands.foreground import run_in_foreground
    from ktnet.session.exchange import ExchangeOptions, open_exchange_session

    options = ExchangeOptions(
        cluster,
        shadow,
        name,
        parse_exposures(",".join(expose)),
        mode=mode,
        on_disconnect=on_disconnect,
        recover_wait_s=recover_wait_s,
    )
    opening = open_exchange_session(options, progress)
    run_in_foreground("exchange", cluster, opening, progress, detach=detach)
