"""`ktnet version`: of this client, and of the shadows that it is connected to."""

from __future__ import annotations

from typing import Any

import click

from ktnet.commands.options import output_option


@click.command()
@output_option("text", "json")
def version(output: str) -> None:
    """Show the versions of this client and of the shadows of its sessions."""
    import json

    from ktnet.control import list_sessions
    from ktnet.wire.release import VERSION
    from ktnet.wire.shadow import PROTOCOL_VERSION

    shadows = [describe_shadow(each) for each in list_sessions() if "shadow_version" in each]
    if output == "json":
        client = {"version": VERSION, "protocol": PROTOCOL_VERSION}
        click.echo(json.dumps({"client": client, "shadows": shadows}, indent=2))
        return
    click.echo(f"ktnet {VERSION} (protocol {PROTOCOL_VERSION})")
    for shadow in shadows:
        click.echo(
            f"shadow {shadow['version']}, image {shadow['image']} "
            f"(pid {shadow['pid']}, namespace {shadow['namespace']})"
        )
    if not shadows:
        click.echo("no shadow: no session is connected")


def describe_shadow(session: dict[str, Any]) -> dict[str, Any]:
    """What a session's status says of its shadow."""
    return {
        "version": session["shadow_version"] or "unknown",
        "image": session["image"],
        "pid": session["pid"],
        "namespace": session["namespace"],
    }
