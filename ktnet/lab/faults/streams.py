"""What happens to WebSockets into pods: to all that are open, or to those of one pod.

cut      the TCP connection ends (FIN) without TLS's or the WebSocket's goodbye
reset    the same by RST
close    the WebSocket's own end, code 1000: what a kubelet's end looks like
stall    nothing more passes in either direction, yet the connection stays
resume   it passes again
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

PORT_FORWARD, EXEC = "portforward", "exec"


class Stream(Protocol):
    """A WebSocket, as far as faults are concerned."""

    @property
    def moved_s(self) -> float:
        """When bytes last passed, on the event loop's clock."""

    def hang_up(self, *, reset: bool) -> None: ...

    def stall(self) -> None: ...

    def resume(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(eq=False)
class OpenStream:
    """One that is open, and what it is for."""

    stream: Stream
    kind: str
    pod: str
    """NAMESPACE/NAME."""
    peer: tuple[str, int]
    timer: asyncio.TimerHandle | None = None


class Streams:
    """All open WebSockets into pods."""

    def __init__(self) -> None:
        self._open: list[OpenStream] = []
        self._idle_timeout_s = 0.0

    @contextlib.contextmanager
    def opened(self, stream: Stream, kind: str, pod: str, peer: tuple[str, int]) -> Iterator[None]:
        """The stream is open as long as the block runs."""
        entry = OpenStream(stream, kind, pod, peer)
        self._open.append(entry)
        self._check_idle(entry)
        try:
            yield
        finally:
            self._open.remove(entry)
            if entry.timer is not None:
                entry.timer.cancel()

    def select(
        self, *, kind: str = PORT_FORWARD, pod: str = "", peer: str = ""
    ) -> list[OpenStream]:
        """The open ones of a kind, of one pod or of all, from one address or from all."""
        return [
            each
            for each in self._open
            if each.kind == kind and pod in {"", each.pod} and peer in {"", each.peer[0]}
        ]

    async def happen(self, deed: str, streams: list[OpenStream]) -> None:
        """Does it to all of them; raises ValueError for no deed."""
        deeds: dict[str, Callable[[Stream], None]] = {
            "cut": lambda stream: stream.hang_up(reset=False),
            "reset": lambda stream: stream.hang_up(reset=True),
            "stall": lambda stream: stream.stall(),
            "resume": lambda stream: stream.resume(),
        }
        if deed == "close":
            for each in streams:
                await each.stream.close()
            return
        if deed not in deeds:
            raise ValueError(f"no such deed: {deed!r}")
        for each in streams:
            deeds[deed](each.stream)

    def set_idle_timeout(self, seconds: float) -> None:
        """From now on streams on which nothing passes for so long are cut; 0: never."""
        self._idle_timeout_s = seconds
        for entry in self._open:
            self._check_idle(entry)

    def _check_idle(self, entry: OpenStream) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        if not self._idle_timeout_s:
            return
        loop = asyncio.get_running_loop()
        due_s = entry.stream.moved_s + self._idle_timeout_s
        if due_s <= loop.time():
            entry.stream.hang_up(reset=False)
        else:
            entry.timer = loop.call_at(due_s, self._check_idle, entry)
