"""`ktnet forward`: parse, open the session, say what happens, wait, undo."""

from __future__ import annotations

from ipaddress import ip_address

import click

from ktnet.commands.options import (
    cluster_options,
    detach_option,
    progress_options,
    shadow_options,
)
from ktnet.commands.progress import Progress
from ktnet.errors import UsageError
from ktnet.session.options import ClusterOptions, ShadowOptions


@click.command()
@click.argument("words", metavar="TARGET [LOCAL:]REMOTE ...", nargs=-1, required=True)
@cluster_options
@shadow_options
@click.option(
    "--address",
    metavar="ADDR",
    default="127.0.0.1",
    show_default=True,
    help="Local address to listen on.",
)
@click.option(
    "--no-shadow",
    is_flag=True,
    help="Make nothing in the cluster: use the API server's own port-forward (pods only).",
)
@detach_option("the ports listen")
@progress_options
def forward(
    words: tuple[str, ...],
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    address: str,
    no_shadow: bool,
    detach: bool,
    progress: Progress,
) -> None:
    """Lead local ports to ports in the cluster.

    TARGET is svc/NAME, pod/NAME, or any address or name that the cluster reaches; several may
    follow each other, each with its ports. LOCAL is REMOTE where it is left out, and any free
    port where it is empty (`:80`).

    \b
      ktnet forward svc/tomcat 8080:80
      ktnet forward db.shop 5432 10.0.0.7 :22
    """
    from ktnet.commands.foreground import run_in_foreground
    from ktnet.session.forward import ForwardOptions, open_forward_session
    from ktnet.session.targets import parse_forwards
    from ktnet.stream.limits import raise_descriptor_limit

    try:
        ip_address(address)
    except ValueError as error:
        raise UsageError(f"--address: {error}") from error
    raise_descriptor_limit()
    options = ForwardOptions(cluster, shadow, parse_forwards(words), address, not no_shadow)
    opening = open_forward_session(options, progress)
    run_in_foreground("forward", cluster, opening, progress, detach=detach)
