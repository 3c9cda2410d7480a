"""How a laptop tells a router whose requests it wants, and that it is still there: pure.

An SSH subsystem of lines. The laptop's first line is its registration, as JSON; the router answers
`ok`, or `no` and why not. From then on an empty line says "still here", and `leave` is answered
with `left` when no request of this laptop's is under way any more.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ktnet.errors import RemoteProtocolError

SUBSYSTEM = "ktnet-mark"

BEAT = b"\n"
BEAT_INTERVAL_S = 0.5
MOST_MISSED = 4
"""Beats in a row; then the laptop is taken for away: within 3 s of the last one."""

OK, NO, LEAVE, LEFT = b"ok", b"no", b"leave", b"left"

LONGEST_LINE = 4096
_LONGEST_WORD = 253
_MOST_PORTS = 256


@dataclass(frozen=True, slots=True)
class Registration:
    """Which requests a laptop wants, on which ports of the router."""

    session: str
    key: str
    value: str
    ports: tuple[int, ...]
    fail_open: bool = True
    """While the laptop is away its requests go to the original pods; else they are refused."""


def build_registration(registration: Registration) -> bytes:
    """The line, with its end."""
    return json.dumps(asdict(registration), separators=(",", ":")).encode() + b"\n"


def parse_registration(line: bytes) -> Registration:
    """The line, without its end. Raises RemoteProtocolError."""
    try:
        found = json.loads(line)
        registration = Registration(**{**found, "ports": tuple(found["ports"])})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RemoteProtocolError(f"no registration of a mark: {error}") from error
    words = (registration.session, registration.key, registration.value)
    if not all(isinstance(word, str) and 0 < len(word) <= _LONGEST_WORD for word in words):
        raise RemoteProtocolError("a registration's words are missing or too long")
    ports = registration.ports
    if len(ports) > _MOST_PORTS or not all(type(p) is int and 0 < p <= 0xFFFF for p in ports):
        raise RemoteProtocolError("a registration's ports are none")
    if type(registration.fail_open) is not bool:
        raise RemoteProtocolError("a registration says neither yes nor no")
    return registration


class LineReader:
    """Lines out of pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Those that are complete, without their ends. Raises RemoteProtocolError: too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE or any(len(line) > LONGEST_LINE for line in lines):
            raise RemoteProtocolError("a line without an end")
        return lines
