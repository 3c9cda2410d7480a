"""`ktnet check`: would a command work, and if not, why."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Literal

import click

from ktnet.commands.options import cluster_options, shadow_options
from ktnet.session.options import ClusterOptions, ConnectOptions, ShadowOptions

if TYPE_CHECKING:
    from ktnet.session.checks.run import Checked

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "skip": ("-", None)}


COMMANDS = ("connect", "exec", "forward", "exchange", "mesh", "run")


@click.command()
@click.argument("command", type=click.Choice(COMMANDS), default="connect")
@cluster_options
@shadow_options
@click.option("--deep", is_flag=True, help="Start the shadow too, and measure the tunnel.")
@click.option(
    "--mode",
    type=click.Choice(["tun", "proxy"]),
    default="tun",
    show_default=True,
    help="As of `ktnet connect`.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def check(
    command: Checked,
    cluster: ClusterOptions,
    shadow: ShadowOptions,
    deep: bool,
    mode: Literal["tun", "proxy"],
    output: Literal["text", "json"],
) -> None:
    """Try everything that COMMAND (default: connect) will need, without changing anything.

    ✓ as it should be, ! works with less, ✗ would fail, - can't be told. The exit code is 0 where
    the command would work, else the one that it would end with.
    """
    import asyncio
    from contextlib import aclosing

    from ktnet.session.checks.result import Check
    from ktnet.session.checks.run import run_checks

    found: list[Check] = []

    async def run() -> None:
        options = ConnectOptions(cluster=cluster, shadow=shadow)
        async with aclosing(run_checks(command, options, mode=mode, deep=deep)) as checks:
            async for each in checks:
                found.append(each)
                if output == "text":
                    show(each)

    def show(each: Check) -> None:
        mark, colour = _MARKS[each.result]
        click.echo(f"{click.style(mark, fg=colour)} {each.name:<16} {each.detail}")
        if each.hint:
            click.echo(f"  {'':<16} → {each.hint}")

    asyncio.run(run())
    if output == "json":
        click.echo(json.dumps({"checks": [each.describe() for each in found]}, indent=2))
    sys.exit(next((each.exit_code for each in found if each.result == "fail"), 0))
