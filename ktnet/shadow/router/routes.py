"""Where a request can go, as the protocols see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ktnet.shadow.destinations import Destination

CallLater = Callable[[float, Callable[[], object]], object]
"""The event loop's."""

LINGER_S = 5.0
"""How long a connection that we have ended may take to be ended by its other side too: closing at
once would send a reset if more came in, and a reset can overtake the last answer."""


SETTLE_S = 0.05
"""So soon after its channels a connection's end is known."""


class Routes(Protocol):
    """Who gets what, at this moment."""

    origin: Destination

    def choose(self, fields: list[tuple[bytes, bytes]]) -> Destination:
        """Where a request with these header fields (names in lower case) goes."""
