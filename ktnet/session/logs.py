"""What a session and its shadow did, as lines of one log.

A session's own side are its events; the shadow's is its pod's log, read by the session itself, so
nobody needs more rights to look than the session has. Neither has ever held a secret.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ktnet.cluster.shadow.manifests import CONTAINER
from ktnet.errors import KtnetError, UsageError
from ktnet.session.tunnel import Tunnel
from ktnet.wire.shadow import find_arming, parse_host_key_line

Json = dict[str, Any]

MOST_LINES = 500
"""Of the shadow's, in one reply: some 300 characters each, far below `ktnet.control.MAX_REPLY`."""
_LONGEST = 1000
"""Characters of a line."""
_READ_TIMEOUT_S = 5.0
"""For the API server to give the shadow's: it is looked at most when something is broken."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (.*)")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One thing that happened."""

    at: str
    """RFC 3339, UTC, to the millisecond, by the clock of its side; empty where it says none."""
    side: Literal["local", "shadow"]
    text: str


def parse_logs_request(request: Json) -> tuple[int, int]:
    """(number of the last event that is known, most lines) of a control request. UsageError."""
    after, lines = request.get("after", 0), request.get("lines", MOST_LINES)
    if type(after) is not int or type(lines) is not int or not 0 <= lines <= MOST_LINES:
        raise UsageError(f"a session tells of {MOST_LINES} lines at most")
    return after, lines


async def answer_logs(
    request: Json, describe_events: Callable[[int], list[Json]], tunnel: Tunnel | None
) -> Json:
    """Both sides: "local" (events) and "shadow" (lines of its log). Raises UsageError."""
    after, lines = parse_logs_request(request)
    return {"local": describe_events(after), **await read_shadow_log(tunnel, lines)}


async def read_shadow_log(tunnel: Tunnel | None, lines: int) -> Json:
    """The last lines of the shadow that runs, or why they are not known ("shadow_error")."""
    if tunnel is None:
        return {"shadow": [], "shadow_error": "there is none, or not yet"}
    pod, namespace = tunnel.shadow.pod.name, tunnel.shadow.spec.namespace
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S):
            text = await tunnel.cluster.api.read_log(
                pod, CONTAINER, namespace=namespace, tail=lines
            )
    except TimeoutError:
        return {"shadow": [], "shadow_error": "the API server does not answer"}
    except KtnetError as error:
        return {"shadow": [], "shadow_error": error.message}
    return {"shadow": [line[:_LONGEST] for line in text.splitlines()]}


def build_local_lines(events: Iterable[Json]) -> list[LogLine]:
    """Of a session's events, as `ktnet.commands.events` tells them."""
    return [
        LogLine(_build_time(float(each["at_s"])), "local", _printable(str(each["text"])))
        for each in events
    ]


def build_shadow_lines(lines: Iterable[str]) -> list[LogLine]:
    """Of a pod's log. What begins with no time happened with what stands before it."""
    built, at = [], ""
    for line in lines:
        match = _TIME.fullmatch(line)
        if match is not None:
            at, text = match.groups()
        elif parse_host_key_line(line) is not None or find_arming(line) is not None:
            continue  # for the client to read, not for people
        else:
            text = line
        built.append(LogLine(at, "shadow", _printable(text)))
    return built


def merge_lines(local: Iterable[LogLine], shadow: Iterable[LogLine]) -> list[LogLine]:
    """Both sides by their times; the order of either stays as it is."""
    return sorted([*local, *shadow], key=lambda line: line.at)


def find_new(lines: list[str], last: str | None) -> list[str]:
    """Those behind the last one that is known; all, where that isn't among them any more."""
    for number in range(len(lines) - 1, -1, -1):
        if lines[number] == last:
            return lines[number + 1 :]
    return lines


def _build_time(at_s: float) -> str:
    moment = datetime.fromtimestamp(at_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _printable(text: str) -> str:
    """Fit for a terminal, whatever a cluster says."""
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST])
