"""`ktnet mesh`: parse, open the session, say what happens, wait, undo."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import click

from ktnet.commands.names import complete_workloads
from ktnet.commands.options import (
    cluster_options,
    detach_option,
    expose_option,
    progress_options,
    shadow_options,
)
from ktnet.commands.progress import Progress
from ktnet.session.options import ClusterOptions, ShadowOptions

if TYPE_CHECKING:
    from ktnet.session.mesh import MeshOptions
    from ktnet.session.report import Report
    from ktnet.session.running import Running

    Open = Callable[[MeshOptions, Report], AbstractAsyncContextManager[Running]]


@click.command()
@click.argument("name", shell_complete=complete_workloads)
@cluster_options
@shadow_options
@expose_option("the workload's pods")
@click.option(
    "--mode",
    type=click.Choice(["auto", "manual", "istio"]),
    default="auto",
    show_default=True,
    help="auto: a router stands in front of the Service, which all who mesh it share. manual: a "
    "marked pod beside the others; the routing rules are yours, and printed ready to apply. "
    "istio: those rules are added to Istio's objects, and removed at the end.",
)
@click.option(
    "--on-disconnect",
    type=click.Choice(["origin", "refuse"]),
    default="origin",
    show_default=True,
    help="With --mode auto: who gets the marked requests while this machine is away.",
)
@click.option(
    "--version-mark",
    metavar="[KEY:]VALUE",
    help="The label and header that mark your version (default: version, and a random value).",
)
@detach_option("it is reached")
@progress_options
def mesh(
    name: str,
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    expose: tuple[str, ...],
    mode: str,
    on_disconnect: str,
    version_mark: str | None,
    detach: bool,
    progress: Progress,
) -> None:
    """Have only one's own requests to NAME come here: those that bear a mark.

    NAME is a workload, or a Service. Requests with the header `version: MARK` come to LOCAL here,
    all others go where they went; several users can share one NAME, with a mark each.

    \b
      ktnet mesh tomcat --expose 8080 --version-mark alice
    """
    from ktnet.cluster.exchange.exposure import parse_exposures
    from ktnet.cluster.mesh.marks import parse_mark
    from ktnet.commands.foreground import run_in_foreground
    from ktnet.session.mesh import MeshOptions
    from ktnet.stream.limits import raise_descriptor_limit

    # Each connection that comes here takes one, to the user's process.
    raise_descriptor_limit()
    key, value = parse_mark(version_mark)
    exposures = parse_exposures(",".join(expose))
    options = MeshOptions(cluster, shadow, name, exposures, key, value, on_disconnect)
    opening = find_opener(mode)(options, progress)
    run_in_foreground("mesh", cluster, opening, progress, detach=detach)


def find_opener(mode: str) -> Open:
    """What opens a session in this mode."""
    from ktnet.session.istio import open_istio_session
    from ktnet.session.mesh import open_mesh_session
    from ktnet.session.mesh_auto import open_auto_session

    openers: dict[str, Open] = {
        "auto": open_auto_session,
        "manual": open_mesh_session,
        "istio": open_istio_session,
    }
    return openers[mode]
