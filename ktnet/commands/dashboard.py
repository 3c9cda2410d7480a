"""`ktnet dashboard`: a local web page that shows what is going on."""

from __future__ import annotations

import click

from ktnet.commands.options import cluster_options
from ktnet.session.options import ClusterOptions

TOKEN_VARIABLE = "KTNET_DASHBOARD_TOKEN"  # noqa: S105  its name, not what it holds
SHORTEST_TOKEN = 16


@click.command()
@cluster_options
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="On 127.0.0.1 (default: any that is free).",
)
@click.option("--no-open", is_flag=True, help="Don't open it in a browser; only print where it is.")
def dashboard(cluster: ClusterOptions, port: int, no_open: bool) -> None:
    """Show this machine's sessions and the cluster's in a browser, live.

    Nobody but who has the link sees anything: it has a token in it, new each time, unless
    $KTNET_DASHBOARD_TOKEN has one. Ctrl-C ends it.
    """
    import asyncio

    from ktnet.host.privileges import step_down

    step_down()  # a user's sessions are registered as the user's
    asyncio.run(serve(cluster, find_token(), port, opens=not no_open))


def find_token() -> str:
    """The user's own, or a new one. Raises UsageError for one that could be guessed."""
    import os
    import secrets

    from ktnet.errors import UsageError

    token = os.environ.get(TOKEN_VARIABLE)
    if token is None:
        return secrets.token_urlsafe(32)
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"${TOKEN_VARIABLE} is no token",
            hint=f"at least {SHORTEST_TOKEN} printable characters: openssl rand -hex 32",
        )
    return token


async def serve(cluster: ClusterOptions, token: str, port: int, *, opens: bool) -> None:
    """Until Ctrl-C."""
    import asyncio
    import signal

    from ktnet.control import list_sessions
    from ktnet.dashboard.feed import Feed
    from ktnet.dashboard.server import open_dashboard

    async def read_sessions() -> list[dict[str, object]]:
        return await asyncio.to_thread(list_sessions)

    async with open_dashboard(Feed(read_sessions), token, port) as bound:
        # Behind the #, a browser keeps it for itself: it is in no request, log or Referer.
        click.echo(f"http://127.0.0.1:{bound}/#token={token}")
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
