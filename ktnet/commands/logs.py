"""`ktnet logs`: what a session did, and its shadow, in the order in which it happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktnet.session.logs import LogLine

_REPLY_TIMEOUT_S = 15.0
FOLLOW_INTERVAL_S = 1.0
"""Between looks at a session that is followed."""


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on until the session ends.")
@click.option(
    "--lines",
    type=click.IntRange(0, 500),
    default=200,
    show_default=True,
    help="At most so many of each side, to begin with.",
)
@click.option("--pid", type=int, help="Of this session (default: the only one).")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print it; json: an object on each line.",
)
def logs(follow: bool, lines: int, pid: int | None, output: str) -> None:
    """Show what a session did, this machine's side and the shadow's, by time.

    Where no session runs, what the last ones that were detached have said.
    """
    from ktnet.control import list_sessions

    if pid is None and not list_sessions() and show_detached(lines):
        return
    for line in read_lines(lines, pid, follow=follow):
        show(line, output)


def read_lines(lines: int, pid: int | None, *, follow: bool) -> Iterator[LogLine]:
    """Those there are; with `follow`, also those to come until the session ends."""
    import time

    from ktnet.commands.dns import find_session
    from ktnet.control import ask_session, list_sessions
    from ktnet.errors import KtnetError
    from ktnet.session.logs import (
        MOST_LINES,
        build_local_lines,
        build_shadow_lines,
        find_new,
        merge_lines,
    )

    session = find_session(pid)
    after, last, told = 0, None, ""
    limit, is_first = lines, True
    while True:
        request: dict[str, Any] = {"do": "logs", "after": after, "lines": limit}
        try:
            reply = ask_session(session, request, timeout_s=_REPLY_TIMEOUT_S)
        except KtnetError:
            if not is_first and all(each["pid"] != session["pid"] for each in list_sessions()):
                click.echo("the session has ended", err=True)
                return
            raise
        local = reply["local"][-lines:] if lines else []
        new = find_new(reply["shadow"], last)
        yield from merge_lines(build_local_lines(local), build_shadow_lines(new))
        error = reply.get("shadow_error", "")
        if error and error != told:
            click.echo(f"the shadow's log is not known: {error}", err=True)
        if not follow:
            return
        told = error
        after = max([after, *(each["number"] for each in reply["local"])])
        last = reply["shadow"][-1] if reply["shadow"] else last
        lines = limit = MOST_LINES
        is_first = False
        time.sleep(FOLLOW_INTERVAL_S)


def show_detached(lines: int) -> bool:
    """The last lines of the file that detached sessions write to; False where there is none."""
    from collections import deque

    from ktnet.control import runtime_directory

    path = runtime_directory() / "detached.log"
    try:
        with path.open(errors="replace") as file:
            last = deque(file, maxlen=lines)
    except FileNotFoundError:
        return False
    click.echo(f"no session runs; {path} ends with:", err=True)
    for line in last:
        click.echo(line.rstrip("\n"))
    return True


def show(line: LogLine, output: str) -> None:
    """One line."""
    import json
    from dataclasses import asdict

    if output == "json":
        click.echo(json.dumps(asdict(line)))
    else:
        click.echo(f"{line.at or '-':<24}  {line.side:<6}  {line.text}")
