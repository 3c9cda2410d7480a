"""What a session tells who looks on, beyond its state; bounded, and made only when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ktnet.errors import UsageError

MOST_FLOWS = 1000
MOST_QUERIES = 256
"""So that a reply stays far below `ktnet.control.MAX_REPLY`."""


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """How much is wanted."""

    flows: int
    """At most so many connections, those that have carried most."""
    queries: int
    """At most so many of the last DNS queries."""


def parse_live_request(request: dict[str, Any]) -> LiveRequest:
    """From a control request. Raises UsageError for what are no numbers within bounds."""
    flows, queries = request.get("flows", 0), request.get("queries", 0)
    if (
        type(flows) is not int
        or type(queries) is not int
        or not 0 <= flows <= MOST_FLOWS
        or not 0 <= queries <= MOST_QUERIES
    ):
        raise UsageError(f"a session tells of {MOST_FLOWS} flows and {MOST_QUERIES} queries")
    return LiveRequest(flows, queries)
