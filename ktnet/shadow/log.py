"""The shadow's log: one line for each event on standard output, with no bytes of a peer's own.

A client takes the host key from this log (see `ktnet.wire.shadow`). So every line but the host
key's begins with the time, and what comes from the network is escaped: nobody else can write a
line that looks like a host key. Whatever Python itself would print goes the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ktnet.wire.shadow import build_arming_line

LINES_BETWEEN_HOST_KEYS = 1000
"""`pods/log` serves only the newest file of a log that was rotated (at 10 MiB by default), so the
host key has to be in every one of them."""

_LONGEST_VALUE = 300
"""Characters; longer than any DNS name, and 1,000 lines of it are far from 10 MiB."""


def escape(text: str) -> str:
    """`text` as printable ASCII on one line: all else, and the backslash, as escape sequences."""
    cut = text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
    return cut.encode("unicode_escape").decode("ascii")


class EventLog:
    """Writes events, and the host key line between them every so often."""

    def __init__(self, host_key_line: str, write: Callable[[str], object]) -> None:
        """`write` takes whole lines, newlines included."""
        self._host_key_line = host_key_line
        self._write = write
        self._lines_since_host_key = 0

    def host_key(self) -> None:
        """Say the host key again."""
        self._write(self._host_key_line + "\n")
        self._lines_since_host_key = 0

    def arming(self, *, restores: bool) -> None:
        """Say whether what was taken can be put back from here."""
        self._write(build_arming_line(restores=restores) + "\n")

    def event(self, what: str, **details: object) -> None:
        """One line: the time (UTC), what happened, and key=value for each detail."""
        now = datetime.datetime.now(datetime.UTC)
        words = [f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z", escape(what)]
        words += [f"{name}={escape(str(value))}" for name, value in details.items()]
        self._write(" ".join(words) + "\n")
        self._lines_since_host_key += 1
        if self._lines_since_host_key >= LINES_BETWEEN_HOST_KEYS:
            self.host_key()


def write_to_stdout(lines: str) -> None:
    """Write and flush; where nobody reads the log any more, the shadow still does its work."""
    with contextlib.suppress(OSError):
        sys.stdout.write(lines)
        sys.stdout.flush()


class _LoggingToEvents(logging.Handler):
    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.event(record.getMessage(), logger=record.name)


def take_over_logging(log: EventLog) -> None:
    """Send what Python would print by itself through `log`: loggers and uncaught exceptions."""
    logging.basicConfig(handlers=[_LoggingToEvents(log)], level=logging.WARNING)

    def say_uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        log.event("crashed", error=kind.__name__, message=error, at=_place(trace))

    sys.excepthook = say_uncaught


def say_loop_error(log: EventLog, context: dict[str, Any]) -> None:
    """What an event loop calls its exception handler for."""
    error = context.get("exception")
    details: dict[str, object] = {"problem": context.get("message", "")}
    if isinstance(error, BaseException):
        details |= {
            "error": type(error).__name__,
            "message": error,
            "at": _place(error.__traceback__),
        }
    log.event("internal error", **details)


def take_over_loop(log: EventLog, loop: asyncio.AbstractEventLoop) -> None:
    """Send what `loop` would print by itself through `log`."""
    loop.set_exception_handler(lambda _loop, context: say_loop_error(log, context))


def _place(trace: TracebackType | None) -> str:
    """Where a traceback ends: file:line."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown"
