"""What commands other than `connect` and `clean` do about a session that was killed: mend it.

Where that would take a password, it is only said.
"""

from __future__ import annotations

import click


def mend_leftovers() -> None:
    """Undo what is left on this machine of sessions that were killed, where anything is."""
    from ktnet.host.leftovers import find_leftovers

    if not find_leftovers():
        return
    import asyncio

    from ktnet.errors import KtnetError
    from ktnet.host.client import mend_host

    try:
        notes = asyncio.run(mend_host(asks=False))
    except KtnetError:
        notes = ("a session was killed and left this machine changed; mend it with: ktnet clean",)
    for note in notes:
        click.echo(f"! {note}", err=True)
