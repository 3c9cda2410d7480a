"""`ktnet clean`: undo what sessions left behind that were killed."""

from __future__ import annotations

from typing import Literal

import click


@click.command()
@click.option(
    "--helper",
    type=click.Choice(["sudo", "none"]),
    default="sudo",
    show_default=True,
    help="How an ordinary user starts the part that changes this machine.",
)
def clean(helper: Literal["sudo", "none"]) -> None:
    """Undo what sessions left behind on this machine that were killed."""
    clean_host(helper)


def clean_host(helper: Literal["sudo", "none"]) -> None:
    """Links, routes and resolver of this machine, from the journal; living sessions keep theirs."""
    import asyncio

    from ktnet.host.client import mend_host

    for note in asyncio.run(mend_host(helper)) or ("nothing of ktnet was left on this machine",):
        click.echo(note)
