"""What a container prints: stdout and stderr in the order in which they came, with times.

Kept in memory and bounded as a kubelet's log files are: when one is full a new one is begun, and
only the newest is ever shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

LogLine = tuple[int, bytes]
"""Nanoseconds since the epoch, and the line with its newline (the last one may lack it)."""

MOST_BYTES = 10 << 20
"""containerLogMaxSize of a kubelet: https://kubernetes.io/docs/concepts/cluster-administration/logging/"""

MOST_LINE_BYTES = 16 << 10
"""A longer line is kept in pieces, as the container runtime interface has it."""


class ContainerLog:
    """The output of one run of a container."""

    def __init__(self) -> None:
        self._lines: list[LogLine] = []
        self._first = 0
        """How many lines came before those that are kept."""
        self._bytes = 0
        self._partial = b""
        self._ended = False
        self._more = asyncio.Event()

    @property
    def lines(self) -> Sequence[LogLine]:
        """What was written until now, oldest first."""
        return tuple(self._lines)

    @property
    def ended(self) -> bool:
        """Nothing will be written any more."""
        return self._ended

    def follow(self) -> AsyncIterator[LogLine]:
        """What is written from now on, until the container has ended."""
        return self._follow(self._first + len(self._lines))

    async def _follow(self, position: int) -> AsyncIterator[LogLine]:
        while True:
            # What a full file took with it is lost to those who read too slowly.
            position = max(position, self._first)
            while position < self._first + len(self._lines):
                yield self._lines[position - self._first]
                position = max(position + 1, self._first)
            if self._ended:
                return
            await self._more.wait()

    def feed(self, data: bytes) -> None:
        """Output as it comes out of a pipe."""
        now_ns = time.time_ns()
        *whole, rest = (self._partial + data).split(b"\n")
        for line in whole:
            self._append(now_ns, line + b"\n")
        while len(rest) >= MOST_LINE_BYTES:
            self._append(now_ns, rest[:MOST_LINE_BYTES])
            rest = rest[MOST_LINE_BYTES:]
        self._partial = rest
        self._wake()

    def feed_eof(self) -> None:
        """Nothing more comes."""
        if self._partial:
            self._append(time.time_ns(), self._partial)
            self._partial = b""
        self._ended = True
        self._wake()

    async def wait_for_end(self) -> None:
        """Until nothing more comes."""
        while not self._ended:
            await self._more.wait()

    def _append(self, time_ns: int, line: bytes) -> None:
        if self._bytes + len(line) > MOST_BYTES:
            self._first += len(self._lines)
            self._lines.clear()
            self._bytes = 0
        self._lines.append((time_ns, line))
        self._bytes += len(line)

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()
