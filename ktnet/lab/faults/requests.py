"""What happens to the n-th request of its kind, before or after the API server has done it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

BEFORE, AFTER = "before", "after"
KILL, RESET, REFUSE = "kill", "reset", "refuse"

Peer = tuple[str, int]
"""A client's address and port."""


@dataclass(frozen=True)
class Arrival:
    """A request as it came in."""

    method: str
    path: str
    agent: str
    """The User-Agent."""
    peer: Peer


@dataclass
class RequestFault:
    """What is to happen to the `number`-th of the requests that match, counted from 1.

    The patterns are those of a shell. A fault happens to `times` requests in a row.
    """

    deed: str
    """KILL: SIGKILL to whoever sent it, who never sees an answer. RESET: its connection is reset,
    and the client lives. REFUSE: it is answered by an error `status`."""
    number: int = 1
    moment: str = BEFORE
    """AFTER: it has been done, and is visible to others, before the fault happens."""
    method: str = "*"
    path: str = "*"
    agent: str = "*"
    client: str = ""
    """Only those from this address."""
    times: int = 1
    status: int = 503
    seen: int = 0
    done: int = 0
    killed: tuple[int, ...] = ()
    """The processes that were killed."""

    def __post_init__(self) -> None:
        if self.deed not in {KILL, RESET, REFUSE}:
            raise ValueError(f"no such deed: {self.deed!r}")
        if self.moment not in {BEFORE, AFTER}:
            raise ValueError(f"{self.moment!r} is neither before nor after")
        if self.number < 1 or self.times < 1:
            raise ValueError("requests are counted from 1")
        if not 400 <= self.status <= 599:
            raise ValueError(f"{self.status} is no error's status")

    def count(self, arrival: Arrival) -> bool:
        """Counts a request that matches; whether the fault is to happen to it."""
        pairs = (
            (arrival.method, self.method),
            (arrival.path, self.path),
            (arrival.agent, self.agent),
        )
        if not all(fnmatchcase(value, pattern) for value, pattern in pairs):
            return False
        if self.client and arrival.peer[0] != self.client:
            return False
        self.seen += 1
        return self.number <= self.seen < self.number + self.times


class ConnectionEnded(ConnectionResetError):
    """The fault took the client or its connection: there is nobody to answer."""


class Refused(Exception):
    """The fault is an answer: `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a fault of the lab: status {status}")
        self.status = status


Kill = Callable[[Peer], tuple[int, ...]]
"""SIGKILL to those who own a client's socket; returns when they are dead, with their ids.

It blocks, for milliseconds: nothing else may happen between request and death."""


def kill_nobody(peer: Peer) -> tuple[int, ...]:
    """Where nobody knows which processes the clients are."""
    raise ValueError(f"nobody knows the process behind {peer[0]}:{peer[1]}")


class RequestFaults:
    """The faults that wait for their request."""

    def __init__(self, kill: Kill = kill_nobody) -> None:
        self._kill = kill
        self._waiting: list[RequestFault] = []

    def add(self, fault: RequestFault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        self._waiting.clear()

    def describe(self) -> list[dict[str, Any]]:
        """Each fault as JSON can say it, with how many requests it has seen."""
        return [asdict(fault) for fault in self._waiting]

    def count(self, arrival: Arrival) -> RequestFault | None:
        """Counts a request once for each fault; the first one that is to happen to it."""
        due = [fault for fault in self._waiting if fault.count(arrival)]
        return due[0] if due else None

    def happen(self, fault: RequestFault, arrival: Arrival) -> None:
        """Raises Refused or ConnectionEnded: either way the request is over."""
        fault.done += 1
        if fault.deed == REFUSE:
            raise Refused(fault.status)
        if fault.deed == KILL:
            fault.killed += self._kill(arrival.peer)
        raise ConnectionEnded
