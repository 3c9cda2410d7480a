"""`ktnet speed`: how fast the tunnel is, leg by leg."""

from __future__ import annotations

from typing import Any

import click

from ktnet.commands.options import cluster_options, output_option, shadow_options
from ktnet.session.options import ClusterOptions, ShadowOptions

_MARGIN_S = 120.0
"""For all that is measured beside the two directions, on a slow line."""


@click.command()
@click.argument("target", metavar="[TARGET PORT]", nargs=-1)
@cluster_options
@shadow_options
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 30),
    default=5,
    show_default=True,
    help="How long each direction is measured.",
)
@click.option(
    "--get",
    "path",
    metavar="PATH",
    default="",
    help="Fetch this from TARGET by HTTP, again and again: what it gives in that time.",
)
@click.option("--pid", type=int, help="Measure this session's tunnel (default: the only one).")
@output_option("table", "json")
def speed(
    target: tuple[str, ...],
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    seconds: float,
    path: str,
    pid: int | None,
    output: str,
) -> None:
    """Measure the tunnel leg by leg: where is it slow?

    That of the session that runs on this machine; where none does, one is made for it and removed
    again. With TARGET (svc/NAME, pod/NAME, a host) and PORT, also what the shadow takes to connect
    there; with --get, also how soon and how fast an HTTP server there answers. The line is filled
    meanwhile.

    \b
      ktnet speed
      ktnet speed svc/tomcat 80
      ktnet speed svc/tomcat 80 --get /large.bin --seconds 10
    """
    import json

    request: dict[str, Any] = {"do": "speed", "seconds": seconds}
    if target:
        request["target"] = list(target)
    if path:
        request["get"] = path
    measured = measure(request, cluster, shadow, pid)
    if output == "json":
        click.echo(json.dumps(measured, indent=2))
    else:
        show(measured)


def measure(
    request: dict[str, Any], cluster: ClusterOptions, shadow: ShadowOptions, pid: int | None
) -> dict[str, Any]:
    """By the session that runs here; where none does, by a tunnel of this command's own."""
    import asyncio

    from ktnet.commands.dns import find_session
    from ktnet.control import ask_session, list_sessions
    from ktnet.session.speed import parse_speed_request

    parse_speed_request(request)
    if pid is not None or list_sessions():
        timeout_s = 2 * request["seconds"] + _MARGIN_S
        return ask_session(find_session(pid), request, timeout_s=timeout_s)
    return asyncio.run(_measure_own(request, cluster, shadow))


async def _measure_own(
    request: dict[str, Any], options: ClusterOptions, shadow: ShadowOptions
) -> dict[str, Any]:
    from ktnet.commands.progress import Progress
    from ktnet.session.cluster import open_cluster
    from ktnet.session.speed import answer_speed
    from ktnet.session.tunnel import build_spec, open_tunnel

    async with open_cluster(options) as cluster:
        spec = build_spec(shadow, cluster.namespace)
        async with open_tunnel(cluster, spec, Progress(quiet=True)) as tunnel:
            return await answer_speed(request, tunnel)


def show(measured: dict[str, Any]) -> None:
    """As a table, and a word on it."""
    from ktnet.commands.words import show_table

    tunnel, target, way = measured["tunnel"], measured["target"], measured["via"]
    rows = [
        (
            "this machine <-> API server",
            "request",
            describe_times(measured["api_server"]["request_ms"]),
        ),
        (f"{way} to the shadow", "set-up", describe_times(measured["way"]["setup_ms"])),
        ("this machine <-> shadow", "connection", describe_times(tunnel["setup_ms"])),
        ("", "round trip, idle", describe_times(tunnel["idle_ms"])),
    ]
    for name in ("download", "upload"):
        rows += [
            ("", name, f"{tunnel[name]['mbit_s']:.1f} Mbit/s"),
            ("", f"round trip, {name}", describe_times(tunnel[name]["loaded_ms"])),
        ]
    if target is not None:
        leg = f"shadow <-> {target['name']}"
        rows.append((leg, "connection", f"{target['connect_ms']:.1f} ms"))
        rows.append(("this machine <-> there", "connection", describe_times(target["setup_ms"])))
        if fetched := target["get"]:
            what = f"GET {fetched['path']}"
            first = f"{describe_times(fetched['first_byte_ms'])}, status {fetched['status']}"
            rows.append(("", f"{what}: first byte", first))
            speed = f"{fetched['mbit_s']:.1f} Mbit/s, by {fetched['count']} requests"
            rows.append(("", f"{what}: download", speed))
    columns = ("leg", "what", "how fast")
    show_table(columns, [dict(zip(columns, row, strict=True)) for row in rows])
    click.echo(measured["slow"])


def describe_times(times: dict[str, float]) -> str:
    """The median, and between what the samples lie."""
    return f"{times['median']:.1f} ms ({times['min']:.1f} to {times['max']:.1f})"
