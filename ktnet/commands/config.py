"""`ktnet config`: what applies, and where each value comes from."""

from __future__ import annotations

import json
from typing import Literal

import click
from click.core import ParameterSource

_SOURCES = {
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "profile",
    ParameterSource.DEFAULT: "default",
}


@click.group()
def config() -> None:
    """Defaults for options: $XDG_CONFIG_HOME/ktnet/config.toml, with profiles."""


@config.command()
@click.argument("command", default="connect")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.pass_context
def show(ctx: click.Context, command: str, output: Literal["text", "json"]) -> None:
    """Show each option of COMMAND (default: connect) as it would be, and where that comes from.

    A flag counts more than the environment, which counts more than the profile.
    """
    from ktnet.errors import UsageError

    root = ctx.find_root()
    group = root.command
    assert isinstance(group, click.Group)  # noqa: S101  (narrows the type)
    found = group.get_command(root, command)
    if found is None or isinstance(found, click.Group):
        raise UsageError(f"there is no command {command!r}", hint="see ktnet --help")
    defaults = (root.default_map or {}).get(command, {})
    rows = []
    with click.Context(found, info_name=command, parent=root, default_map=defaults) as inner:
        for parameter in found.params:
            if not isinstance(parameter, click.Option) or parameter.is_eager:
                continue
            value, source = parameter.consume_value(inner, {})
            name = max(parameter.opts, key=len).removeprefix("--")
            rows.append((name, parameter.envvar, describe(value), _SOURCES.get(source, "default")))
    if output == "json":
        told = {n: {"value": v, "source": s, "environment": e} for n, e, v, s in rows}
        profile = {"profile": root.obj.name, "file": str(root.obj.path)} if root.obj else {}
        click.echo(json.dumps(profile | {"options": told}, indent=2))
        return
    if root.obj:
        click.echo(f"{root.obj.path}: {root.obj.name or 'no profile'}")
    width = max(len(row[0]) for row in rows)
    for name, envvar, value, origin in rows:
        where = f"${envvar}" if origin == "environment" else origin
        click.echo(f"{name.ljust(width)}  {value or '-'}  ({where})")


@config.command()
def path() -> None:
    """Print where the file is, or would be."""
    from ktnet.commands.profiles import find_config

    click.echo(find_config())


def describe(value: object) -> str:
    """In one line; empty where there is none."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    text = "" if value is None or type(value).__name__ == "Sentinel" else str(value)
    return "" if "UNSET" in text else text
