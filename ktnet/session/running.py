"""A session that is up: what is asked of every one, in the same way, until it ends.

Each opener hands over what only it can say; the tunnel and the connections speak for themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ktnet.session.live import LiveRequest
from ktnet.session.tunnel import Tunnel
from ktnet.stream.ledger import Counters

Json = dict[str, Any]


class Connections(Protocol):
    """Which there are, and what they have carried: a ledger of streams, or a capture."""

    @property
    def counters(self) -> Counters:
        """Of all that there have been."""

    def describe_flows(self, most: int) -> list[Json]:
        """Those that have carried most, as JSON, the largest first."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """What commands hold of a session."""

    tunnel: Tunnel | None
    """What `ktnet speed` measures and whose shadow's log is read; None where it has none of its
    own."""
    connections: Connections
    describe_own: Callable[[], Json]
    """What `ktnet status` shows of it beside its tunnel and the counts of its connections."""
    watch: Callable[[], Coroutine[Any, Any, object]]
    """Waits until a part is lost; raises what became of it."""
    describe_end: Callable[[], str]
    """What is left of it, once it has been undone."""
    describe_queries: Callable[[int], list[Json]] | None = None
    """The last DNS queries, so many at most; None where none come here."""
    explain_name: Callable[[str, int], Awaitable[Json]] | None = None
    """How a name is decided and answered, for `ktnet dns`; None where no name of this machine's
    is."""

    def describe(self) -> Json:
        """Its state, for `ktnet status`."""
        tunnel = {} if self.tunnel is None else self.tunnel.describe()
        return {**tunnel, **self.describe_own(), "flows": asdict(self.connections.counters)}

    async def tell_live(self, request: LiveRequest) -> Json:
        """What goes on, for who looks on: "round_trip_s", "flows", "queries", where it has any."""
        told = {} if self.tunnel is None else await self.tunnel.tell_live()
        told["flows"] = self.connections.describe_flows(request.flows)
        if self.describe_queries is not None:
            told["queries"] = self.describe_queries(request.queries)
        return told
