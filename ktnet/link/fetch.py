"""What an HTTP server in the cluster gives through the tunnel: GET, again and again.

The one thing that may be asked of somebody else's server without doing harm (RFC 9110 section
9.2.1), and that is answered with as many bytes as one likes.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

from ktnet.errors import TunnelError
from ktnet.link.speed import Told, open_flow, wait_heard
from ktnet.stream.speed import Sink
from ktnet.wire.flow import Dialer

_FIRST_BYTE_TIMEOUT_S = 30.0
_HEAD_BYTES = 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass
class Fetched:
    """What came."""

    first_byte_s: list[float] = field(default_factory=list)
    """From the request to the first octet of its answer, each time."""
    octets: int = 0
    """Heads of answers included."""
    spent_s: float = 0.0
    """From the first connection's opening to the last answer's end."""
    status: int = 0
    """The last answer's; 0 for what is no HTTP."""


class _Answer(Told[Sink]):
    """Counts what comes, and keeps its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.octets = 0
        self.head = b""

    def data_received(self, data: bytes | memoryview) -> None:
        """Some more of it."""
        if len(self.head) < _HEAD_BYTES:
            self.head += bytes(data[:_HEAD_BYTES])
        self.octets += len(data)
        self.heard.set()

    def eof_received(self) -> None:
        """That was all."""
        super().eof_received()
        self.heard.set()

    def closed(self, *, reset: bool) -> None:
        """That was all too: a server may reset what it has answered."""
        self.eof_received()


async def measure_fetches(
    dialer: Dialer, host: str, port: int, request: bytes, seconds: float
) -> Fetched:
    """Ask until so many seconds are over, but once at least; an answer is read to its end, or to
    that of the time. Raises TunnelError where it can't connect or nothing comes."""
    loop = asyncio.get_running_loop()
    fetched = Fetched()
    start_s = loop.time()
    while not fetched.first_byte_s or loop.time() - start_s < seconds:
        answer = _Answer()
        async with open_flow(dialer, host, port, answer) as flow:
            asked_s = loop.time()
            flow.write(request)
            await wait_heard(answer, _FIRST_BYTE_TIMEOUT_S)
            fetched.first_byte_s.append(loop.time() - asked_s)
            await asyncio.wait({answer.over}, timeout=max(0.0, start_s + seconds - loop.time()))
        if not answer.octets:
            raise TunnelError("the server there ends the connection without an answer")
        fetched.octets += answer.octets
        match = _STATUS.match(answer.head)
        fetched.status = int(match[1]) if match else 0
    fetched.spent_s = loop.time() - start_s
    return fetched


def build_get(host: str, path: str) -> bytes:
    """The request. Raises ValueError for a path that none can have in it (RFC 9112 section 3.2)."""
    if not re.fullmatch(r"/[!-~]*", path):
        raise ValueError("a path begins with / and has no spaces in it")
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ktnet-speed\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
