"""Options that commands share, packed into what the session takes.

Each decorator adds its options to a command, which gets one argument for all of them:
`cluster_options` gives `cluster`, `shadow_options` gives `shadow`, `progress_options` gives
`progress`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import click

from ktnet.commands.keyvalues import ANNOTATION, LABEL, OWN_LABEL, RESOURCES
from ktnet.commands.progress import Progress, log_to_stderr
from ktnet.commands.types import CIDR, DOMAIN
from ktnet.session.options import ClusterOptions, ShadowOptions

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

_CLUSTER: tuple[Decorator, ...] = (
    click.option(
        "-n",
        "--namespace",
        metavar="NS",
        help="Namespace of the shadow pod and of short names (default: the context's).",
    ),
    click.option(
        "--context", metavar="C", help="Context of the kubeconfig (default: its current one)."
    ),
    click.option(
        "--kubeconfig",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Kubeconfig (default: $KUBECONFIG, ~/.kube/config, the pod's own).",
    ),
)

_SHADOW: tuple[Decorator, ...] = (
    click.option(
        "--image",
        metavar="IMAGE",
        envvar="KTNET_IMAGE",
        help="Image of the shadow (default: ktnet-shadow:<this version>; or $KTNET_IMAGE).",
    ),
    click.option(
        "--sideload",
        is_flag=True,
        help="Bring the shadow's code along, into a stock Python image (--image; default: "
        "python:<this Python's version>-slim).",
    ),
    click.option(
        "--sideload-wheels",
        metavar="FOLDER",
        type=click.Path(exists=True, file_okay=False),
        help="With --sideload: where the wheels are, instead of in pip's index.",
    ),
    click.option(
        "--image-pull-secret",
        "image_pull_secrets",
        metavar="SECRET",
        multiple=True,
        help="Secret to pull the image with; may be repeated.",
    ),
    click.option(
        "--service-account",
        metavar="NAME",
        default="",
        help="ServiceAccount of the shadow pod; its token isn't mounted (default: default).",
    ),
    click.option(
        "--node-selector",
        type=LABEL,
        multiple=True,
        help="Run the shadow on a node with this label; may be repeated.",
    ),
    click.option(
        "--label",
        "labels",
        type=OWN_LABEL,
        multiple=True,
        help="Put this label on the shadow's Job and pod; may be repeated.",
    ),
    click.option(
        "--annotation",
        "annotations",
        type=ANNOTATION,
        multiple=True,
        help="Put this annotation on the shadow's Job and pod; may be repeated.",
    ),
    click.option(
        "--resources",
        type=RESOURCES,
        metavar="cpu=..,memory=..",
        default=(),
        help="The shadow's requests and limits (default: small requests, no limits).",
    ),
    click.option(
        "--via",
        type=click.Choice(["port-forward", "direct"]),
        default="port-forward",
        show_default=True,
        help="How to reach the shadow: through the API server, or by its pod address.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        metavar="SECONDS",
        type=click.FloatRange(1, 3600),
        default=60,
        show_default=True,
        help="Give up when the shadow doesn't run by then.",
    ),
)


def _build_idle(default_s: int, what: str) -> Decorator:
    return click.option(
        "--idle",
        "idle_s",
        metavar="SECONDS",
        type=click.IntRange(5, 86400),
        default=default_s,
        show_default=True,
        help=f"The shadow {what} after so long without this client.",
    )


_CAPTURE: tuple[Decorator, ...] = (
    click.option(
        "--include", type=CIDR, multiple=True, help="Capture this network too; may be repeated."
    ),
    click.option(
        "--exclude", type=CIDR, multiple=True, help="Never capture this network; may be repeated."
    ),
    click.option(
        "--no-pod-ips",
        is_flag=True,
        help="Capture only the addresses of Services (and --include); names of pods resolve.",
    ),
    click.option(
        "--cluster-domain",
        type=DOMAIN,
        metavar="DOMAIN",
        default="cluster.local",
        show_default=True,
        help="The cluster's DNS domain.",
    ),
    click.option(
        "--dns-include",
        type=DOMAIN,
        multiple=True,
        help="Ask the cluster for names under this suffix too; may be repeated.",
    ),
    click.option(
        "--dns-exclude",
        type=DOMAIN,
        multiple=True,
        help="Never ask the cluster for names under this suffix; may be repeated.",
    ),
)

_PROGRESS: tuple[Decorator, ...] = (
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Say what the parts do, on stderr."),
)


def cluster_options(command: Command) -> Command:
    """Which cluster, and where in it: `cluster`, a `ClusterOptions`."""
    return _pack(command, "cluster", ClusterOptions, _CLUSTER)


def shadow_options(command: Command) -> Command:
    """Which shadow, and the way to it: `shadow`, a `ShadowOptions`."""
    options = (*_SHADOW, _build_idle(60, "ends itself"))
    return _pack(command, "shadow", ShadowOptions, options)


def standing_shadow_options(command: Command) -> Command:
    """As `shadow_options`, for a shadow that stands in others' place: who is away for a minute
    may well come back, and then finds all as it was."""
    options = (*_SHADOW, _build_idle(120, "puts back what was taken, and ends itself,"))
    return _pack(command, "shadow", ShadowOptions, options)


def expose_option(whose: str, *also: str) -> Decorator:
    """Which ports of this machine are `whose`: `expose`, words for `parse_exposures`."""
    return click.option(
        "--expose",
        *also,
        metavar="[HOST:]LOCAL[:REMOTE][,...]",
        multiple=True,
        required=True,
        help=f"This machine's port LOCAL (or HOST's) is port REMOTE of {whose}.",
    )


def detach_option(when: str) -> Decorator:
    """Whether to go on in the background `when` it is up: `detach`."""
    return click.option(
        "-d",
        "--detach",
        is_flag=True,
        help=f"Return when {when}, and stay so until `ktnet disconnect`.",
    )


def output_option(*kinds: str) -> Decorator:
    """How to print it: `output`, the first of `kinds` where nothing is said."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(kinds),
        default=kinds[0],
        show_default=True,
        help="How to print it.",
    )


def capture_options(command: Command) -> Command:
    """What is the cluster's, beside what is found: `capture`, fields of `ConnectOptions`."""
    return _pack(command, "capture", dict, _CAPTURE)


def silent_progress_options(command: Command) -> Command:
    """As `progress_options`, for commands whose output is another program's."""
    return _pack(command, "progress", _open_silent_progress, _PROGRESS[1:])


def progress_options(command: Command) -> Command:
    """How much to say: `progress`, a `Progress`; the log is set up too."""
    return _pack(command, "progress", _open_progress, _PROGRESS)


def _open_progress(*, quiet: bool, verbose: bool) -> Progress:
    log_to_stderr(verbose=verbose)
    return Progress(quiet=quiet)


def _open_silent_progress(*, verbose: bool) -> Progress:
    log_to_stderr(verbose=verbose)
    return Progress(quiet=not verbose, err=True)


def _pack(
    command: Command, name: str, build: Callable[..., Any], options: tuple[Decorator, ...]
) -> Command:
    known = len(getattr(command, "__click_params__", ()))

    @functools.wraps(command)
    def call(**values: Any) -> Any:
        values[name] = build(**{field: values.pop(field) for field in fields})
        return command(**values)

    packed: Any = call
    for option in reversed(options):
        packed = option(packed)
    # click keeps a command's parameters on its function, the newest last.
    fields = [parameter.name for parameter in packed.__click_params__[known:]]
    return cast("Command", packed)
