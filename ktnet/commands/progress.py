"""What a long-running command tells its user while it works."""

from __future__ import annotations

import logging
import os
import sys
import time

import click

from ktnet.commands.events import Events


class Progress:
    """Prints one line for each step that is done, with the time since the step before it."""

    def __init__(self, *, quiet: bool, err: bool = False) -> None:
        """On stdout, or with `err` on stderr."""
        self._quiet = quiet
        self._err = err
        self._started_s = self._last_s = time.monotonic()
        self.events = Events()

    def begin(self) -> None:
        """The next step begins only now."""
        self._last_s = time.monotonic()

    def step(self, name: str, detail: str) -> None:
        """A step is done."""
        now_s = time.monotonic()
        took_s, self._last_s = now_s - self._last_s, now_s
        self.events.add("step", f"{name}: {detail}")
        self._say(f"{click.style('✓', fg='green')} {name:<9} {detail}  {took_s:.1f} s")

    def waiting(self, detail: str) -> None:
        """What the step under way is waiting for."""
        self._say(f"{click.style('…', dim=True)} {detail}")

    def note(self, text: str) -> None:
        """Something that the user should know, though it stops nothing."""
        self.events.add("note", text)
        self._say(f"{click.style('!', fg='yellow')} {text}")

    def show(self, line: str) -> None:
        """Something to copy, without any mark in front."""
        self._say(line)

    def ready(self, text: str) -> None:
        """All steps are done."""
        took_s = time.monotonic() - self._started_s
        self.events.add("ready", f"ready in {took_s:.1f} s")
        self._say(f"{click.style('ready', fg='green', bold=True)} in {took_s:.1f} s: {text}")

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        try:
            click.echo(line, err=self._err)
        except OSError:
            # Whoever read this has gone, or its disk is full: no reason to end a session.
            self._quiet = True
            _discard_stdout()


def _discard_stdout() -> None:
    """Let what stdout still holds go nowhere: at exit Python would try once more and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def log_to_stderr(*, verbose: bool) -> None:
    """Send the log to stderr: all that our parts say with -v, warnings else."""
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("ktnet").setLevel(logging.DEBUG if verbose else logging.WARNING)
    # asyncssh logs every channel at INFO; the parts above it say what matters.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
