"""`ktnet connect`: parse, open the session, say what happens, wait, undo."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal

import click

from ktnet.commands.options import (
    capture_options,
    cluster_options,
    detach_option,
    progress_options,
    shadow_options,
)
from ktnet.commands.progress import Progress
from ktnet.commands.types import LISTEN
from ktnet.errors import UsageError
from ktnet.session.options import ClusterOptions, ConnectOptions, DnsMode, ShadowOptions

if TYPE_CHECKING:
    from ktnet.session.proxy import ProxyOptions


@click.command()
@cluster_options
@shadow_options
@capture_options
@click.option(
    "--dns-mode",
    type=click.Choice(["auto", "resolved", "resolvconf", "off"]),
    default="auto",
    show_default=True,
    help="How names come here: systemd-resolved is told, or /etc/resolv.conf changed, or neither.",
)
@click.option(
    "--mode",
    type=click.Choice(["tun", "proxy"]),
    default="tun",
    show_default=True,
    help="Capture this machine's traffic, or offer it a proxy and change nothing.",
)
@click.option(
    "--listen",
    type=LISTEN,
    metavar="[ADDR:]PORT",
    default="127.0.0.1:1080",
    show_default=True,
    help="With --mode proxy: where SOCKS5 and HTTP are spoken.",
)
@click.option(
    "--proxy-user",
    metavar="USER",
    help="With --mode proxy: who may use it, with the password in $KTNET_PROXY_PASSWORD.",
)
@detach_option("it is connected")
@click.option(
    "--helper",
    type=click.Choice(["sudo", "none"]),
    default="sudo",
    show_default=True,
    help="How an ordinary user starts the part that changes this machine: by sudo, or as it is.",
)
@progress_options
def connect(
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    capture: dict[str, Any],
    dns_mode: DnsMode,
    mode: Literal["tun", "proxy"],
    listen: tuple[str, int],
    proxy_user: str | None,
    detach: bool,
    helper: Literal["sudo", "none"],
    progress: Progress,
) -> None:
    """Join this machine to the cluster's network.

    Until Ctrl-C (or `ktnet disconnect`), every Service, pod address and DNS name of the cluster
    is reachable from this machine; then all of it is undone.
    """
    from ktnet.commands.foreground import run_in_foreground

    if mode == "proxy":
        # What the other mode is made of is Linux's alone, and isn't even imported here.
        from ktnet.session.proxy import open_proxy_session

        if hasattr(os, "geteuid"):
            from ktnet.host.privileges import step_down

            if said := step_down():
                progress.note(said)
        offered = open_proxy_session(
            build_proxy_options(cluster, shadow, listen, proxy_user), progress
        )
        run_in_foreground("connect", cluster, offered, progress, detach=detach)
        return

    from ktnet.host.channel import start_helper
    from ktnet.host.privileges import step_down
    from ktnet.session.connect import open_session

    options = ConnectOptions(
        cluster=cluster,
        shadow=shadow,
        **capture,
        helper=helper,
        dns_mode=dns_mode,
    )
    # Whoever has root's rights gives them up, but for those of the helper, before all else.
    started = start_helper() if os.geteuid() == 0 else None
    if said := step_down():
        progress.note(said)
    opened = open_session(options, progress, started)
    run_in_foreground("connect", cluster, opened, progress, detach=detach)


def build_proxy_options(
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    listen: tuple[str, int],
    user: str | None,
) -> ProxyOptions:
    """Raises UsageError where anybody could use the proxy who reaches this machine."""
    from ktnet.proxy.handshake import Credentials
    from ktnet.session.proxy import ProxyOptions

    address, port = listen
    if user is None:
        if not ip_address(address).is_loopback:
            raise UsageError(
                f"on {address} others could use the proxy as well",
                hint="say who may, with --proxy-user and $KTNET_PROXY_PASSWORD",
            )
        return ProxyOptions(cluster, shadow, address, port)
    password = os.environ.get("KTNET_PROXY_PASSWORD", "")
    if not password:
        raise UsageError("--proxy-user needs a password", hint="put it into $KTNET_PROXY_PASSWORD")
    return ProxyOptions(cluster, shadow, address, port, Credentials(user, password))
