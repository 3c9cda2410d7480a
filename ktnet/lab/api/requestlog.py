"""What was asked of the API server: kept for tests, and for a look at what a client does. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

KEPT = 10_000
"""Some MB; a whole test run of a busy lab needs fewer."""


@dataclass(slots=True)
class Request:
    """One request; `status` is 0 until it is answered."""

    method: str
    path: str
    query: str
    user: str
    user_agent: str
    content_type: str
    status: int = 0


class RequestLog:
    """The newest requests, oldest first."""

    def __init__(self, kept: int = KEPT) -> None:
        self._requests: deque[Request] = deque(maxlen=kept)

    def add(self, request: Request) -> None:
        self._requests.append(request)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests))

    def __len__(self) -> int:
        return len(self._requests)
