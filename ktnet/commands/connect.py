"""`ktnet connect`: parse, open the session, say what happens, wait, undo."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Literal

import click

from ktnet.commands.types import CIDR, DOMAIN


@click.command()
@click.option(
    "-n",
    "--namespace",
    metavar="NS",
    help="Namespace of the shadow pod and of short names (default: the context's).",
)
@click.option(
    "--context", metavar="C", help="Context of the kubeconfig (default: its current one)."
)
@click.option(
    "--kubeconfig",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Kubeconfig (default: $KUBECONFIG, ~/.kube/config, the pod's own).",
)
@click.option(
    "--image",
    metavar="IMAGE",
    envvar="KTNET_IMAGE",
    help="Image of the shadow (default: ktnet-shadow:<this version>; or $KTNET_IMAGE).",
)
@click.option(
    "--image-pull-secret",
    "image_pull_secrets",
    metavar="SECRET",
    multiple=True,
    help="Secret to pull the image with; may be repeated.",
)
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
@click.option(
    "--via",
    type=click.Choice(["port-forward", "direct"]),
    default="port-forward",
    show_default=True,
    help="How to reach the shadow: through the API server, or by its pod address.",
)
@click.option(
    "--idle",
    "idle_s",
    metavar="SECONDS",
    type=click.IntRange(5, 86400),
    default=60,
    show_default=True,
    help="The shadow ends itself after so long without this client.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(1, 3600),
    default=60,
    show_default=True,
    help="Give up when the shadow doesn't run by then.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say what the parts do, on stderr.")
def connect(
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    image: str | None,
    image_pull_secrets: tuple[str, ...],
    include: tuple[IPv4Network, ...],
    exclude: tuple[IPv4Network, ...],
    cluster_domain: str,
    dns_include: tuple[str, ...],
    dns_exclude: tuple[str, ...],
    via: Literal["port-forward", "direct"],
    idle_s: int,
    timeout_s: float,
    quiet: bool,
    verbose: bool,
) -> None:
    """Join this machine to the cluster's network.

    Until Ctrl-C (or `ktnet disconnect`), every Service, pod address and DNS name of the cluster
    is reachable from this machine; then all of it is undone.
    """
    from ktnet.commands.foreground import run_in_foreground
    from ktnet.commands.progress import Progress, log_to_stderr
    from ktnet.session import ConnectOptions, open_session

    log_to_stderr(verbose=verbose)
    progress = Progress(quiet=quiet)
    options = ConnectOptions(
        namespace=namespace,
        context=context,
        kubeconfig=kubeconfig,
        image=image,
        image_pull_secrets=image_pull_secrets,
        include=include,
        exclude=exclude,
        cluster_domain=cluster_domain,
        dns_include=dns_include,
        dns_exclude=dns_exclude,
        via=via,
        idle_s=idle_s,
        timeout_s=timeout_s,
    )
    identity = {"namespace": namespace or "", "context": context or ""}
    run_in_foreground("connect", identity, open_session(options, progress), progress)
