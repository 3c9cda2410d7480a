"""`ktnet dashboard`: a local web page that shows what is going on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ktnet.commands.options import cluster_options
from ktnet.session.options import ClusterOptions

if TYPE_CHECKING:
    from ktnet.dashboard.source import Source

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
@click.option("-A", "--all-namespaces", is_flag=True, help="Of the cluster, all namespaces.")
def dashboard(cluster: ClusterOptions, port: int, no_open: bool, all_namespaces: bool) -> None:
    """Show this machine's sessions and the cluster's in a browser, live.

    Nobody but who has the link sees anything: it has a token in it, new each time, unless
    $KTNET_DASHBOARD_TOKEN has one. Ctrl-C ends it.
    """
    import asyncio

    from ktnet.dashboard.source import Source
    from ktnet.host.privileges import step_down

    step_down()  # a user's sessions are registered as the user's
    source = Source(cluster, everywhere=all_namespaces)
    asyncio.run(serve(source, find_token(), port, opens=not no_open))


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


async def serve(source: Source, token: str, port: int, *, opens: bool) -> None:
    """Until Ctrl-C."""
    import asyncio
    import secrets
    import signal

    from ktnet.dashboard.feed import Feed
    from ktnet.dashboard.opening import find_browser, open_page
    from ktnet.dashboard.server import open_dashboard
    from ktnet.tasks import open_tasks

    browser = find_browser() if opens else None
    code = secrets.token_urlsafe(32) if browser is not None else ""
    async with (
        open_dashboard(Feed(source), source, token, port, code) as (bound, guard),
        open_tasks() as tasks,
    ):
        # Behind the #, a browser keeps it for itself: it is in no request, log or Referer.
        click.echo(f"http://127.0.0.1:{bound}/#token={token}")
        if browser is not None:
            tasks.create_task(open_page(browser, bound, code, guard.forget_code), name="open it")
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
