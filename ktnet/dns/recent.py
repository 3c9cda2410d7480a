"""The last queries and what became of them, for people who look on."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice
from typing import Any

from ktnet.dns.names import Name, format_name
from ktnet.dns.policy import Zone
from ktnet.dns.text import format_rcode, format_type

MOST = 256


class RecentQueries:
    """A ring: noting is one tuple, and nothing is put into words before somebody asks."""

    def __init__(self) -> None:
        self._queries: deque[tuple[float, Name, int, Zone, int, bool, float]] = deque(maxlen=MOST)

    def add(
        self, name: Name, qtype: int, zone: Zone, rcode: int, from_memory: bool, took_s: float
    ) -> None:
        """Note one that has its answer."""
        self._queries.append((time.time(), name, qtype, zone, rcode, from_memory, took_s))

    def describe(self, most: int) -> list[dict[str, Any]]:
        """As JSON, the newest first; `at_s` is Unix time."""
        return [
            {
                "at_s": round(at_s, 3),
                "name": format_name(name),
                "type": format_type(qtype),
                "zone": zone.value,
                "answer": format_rcode(rcode),
                "from_memory": from_memory,
                "took_s": round(took_s, 6),
            }
            for at_s, name, qtype, zone, rcode, from_memory, took_s in islice(
                reversed(self._queries), most
            )
        ]
