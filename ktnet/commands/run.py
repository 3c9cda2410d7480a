"""`ktnet run` (and `preview`): parse, open the session, say what happens, wait, undo."""

from __future__ import annotations

from typing import Literal

import click

from ktnet.commands.options import (
    cluster_options,
    detach_option,
    expose_option,
    progress_options,
    shadow_options,
)
from ktnet.commands.progress import Progress
from ktnet.session.options import ClusterOptions, ShadowOptions


@click.command()
@click.argument("name")
@cluster_options
@shadow_options
@expose_option("the Service", "--port")
@click.option(
    "--no-service", is_flag=True, help="Make no Service: it is reached by its pod's address only."
)
@click.option(
    "--type",
    "service_type",
    type=click.Choice(["ClusterIP", "NodePort", "LoadBalancer"]),
    default="ClusterIP",
    show_default=True,
    help="Of the Service.",
)
@detach_option("it is reached")
@progress_options
def run(
    name: str,
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    expose: tuple[str, ...],
    no_service: bool,
    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"],
    detach: bool,
    progress: Progress,
) -> None:
    """Make a process of this machine the Service NAME of the cluster.

    Until Ctrl-C (or `ktnet disconnect`), whoever in the cluster connects to NAME reaches LOCAL
    here; a Service that is there already is left alone.

    \b
      ktnet run preview --expose 8080:80
    """
    from ktnet.cluster.exchange.exposure import parse_exposures
    from ktnet.commands.foreground import run_in_foreground
    from ktnet.session.run import RunOptions, open_run_session

    options = RunOptions(
        cluster,
        shadow,
        name,
        parse_exposures(",".join(expose)),
        service=not no_service,
        service_type=service_type,
    )
    run_in_foreground("run", cluster, open_run_session(options, progress), progress, detach=detach)
