"""`--detach`: the command returns as soon as the session is ready, and the session goes on.

It starts in a child that keeps the terminal until then, so that whatever asks for a password is
answered, Ctrl-C is heard, and an error comes out where it is looked for, with its exit code. Only
then does it leave the terminal and send what it still says to a file.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from ktnet.control import open_registry
from ktnet.errors import KtnetError

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_detached(run: Callable[[Callable[[], None]], None]) -> None:
    """Calls `run` in a child, and returns there when `run` does; ends this process before.

    `run` gets what it has to call when it is ready: from then on the child is on its own, and this
    process exits 0. Where the child ends before, this process exits as it did.
    """
    log = open_registry().parent / "detached.log"
    ours, theirs = os.pipe()
    # The helper keeps the stderr that it was given, and whoever reads ours until its end, as
    # `$(...)` does, shall not wait for the helper. Nobody does so at a terminal.
    relayed = None if sys.stderr.isatty() else os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        if relayed is not None:
            os.close(relayed[1])
        _wait(child, ours, relayed and relayed[0], log)
    os.close(ours)
    if relayed is not None:
        os.close(relayed[0])
        os.dup2(relayed[1], 2)
        os.close(relayed[1])

    def ready() -> None:
        _leave_terminal(log)
        with contextlib.suppress(OSError):  # whoever waited has gone
            os.write(theirs, b"!")
        os.close(theirs)

    run(ready)


def _wait(child: int, ready: int, words: int | None, log: Path) -> NoReturn:
    for number in _FORWARDED:
        signal.signal(number, lambda number, _: os.kill(child, number))
    sources = [ready, *([] if words is None else [words])]
    while True:
        readable, _, _ = select.select(sources, [], [])
        if words in readable and words is not None:
            _relay(words, sources)
        elif ready in readable:
            break
    if os.read(ready, 1):
        click.echo(f"detached (pid {child}): `ktnet disconnect` ends it; it logs to {log}")
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        name = signal.Signals(-code).name
        raise KtnetError(f"the client was ended by {name} before it was ready")
    sys.exit(code)


def _relay(words: int, sources: list[int]) -> None:
    """What there is to read, to our own stderr."""
    part = os.read(words, 65536)
    if not part:
        sources.remove(words)
    with contextlib.suppress(OSError):
        os.write(2, part)


def _leave_terminal(log: Path) -> None:
    """A session of its own, nothing to read, and a file for its words."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    # Appended to: there may be several sessions, and why one ended is of use after the next began.
    words = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for descriptor, target in ((nothing, 0), (words, 1), (words, 2)):
        os.dup2(descriptor, target)
    os.close(nothing)
    os.close(words)
