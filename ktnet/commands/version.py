"""`ktnet version`."""

from __future__ import annotations

import click


@click.command()
def version() -> None:
    """Show the version."""
    from importlib.metadata import version as distribution_version

    click.echo(distribution_version("ktnet"))
