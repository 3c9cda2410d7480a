"""What a resolver was asked, so that a test can tell which names went which way."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass

from dnslib import QTYPE, RCODE

REMEMBERED = 10_000


@dataclass(frozen=True)
class AskedQuery:
    """One question that a resolver was asked."""

    time: float
    """Seconds since the epoch."""
    asker: str
    name: str
    type: str
    rcode: str


class QueryLog:
    """The last questions of a resolver."""

    def __init__(self) -> None:
        self._queries: deque[AskedQuery] = deque(maxlen=REMEMBERED)

    def add(self, asker: str, name: str, kind: int, rcode: int) -> None:
        """One was asked and answered."""
        self._queries.append(
            AskedQuery(time.time(), asker, name, _text(QTYPE, kind), _text(RCODE, rcode))
        )

    def list(self) -> list[dict[str, object]]:
        """What was asked, oldest first."""
        return [asdict(query) for query in self._queries]


def _text(table: object, number: int) -> str:
    """A type's or response code's name; its number where it has none."""
    forward: dict[int, str] = getattr(table, "forward", {})
    return forward.get(number, str(number))
