"""How a session is, for `ktnet status`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

WITHOUT_ICMP = (
    "a firewall of this machine drops ICMP errors: what can't be reached in the cluster looks"
    " refused, and UDP, which isn't carried, gets no answer"
)
"""For the user, where `ktnet.capture.probe` has found that."""


@dataclass
class TunnelState:
    """Whether there is a connection, since when, and how often it has come back."""

    state: Literal["connecting", "connected", "reconnecting"] = "connecting"
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    reconnects: int = 0
    reason: str = ""
    """Of the last break, or of the last attempt that failed since; kept when it is back."""

    def connected(self) -> None:
        """There is a connection (again)."""
        self.reconnects += self.state == "reconnecting"
        self.state, self.since = "connected", datetime.now(UTC)

    def broke(self, reason: str) -> None:
        """It was lost."""
        self.state, self.since, self.reason = "reconnecting", datetime.now(UTC), reason

    def describe(self) -> dict[str, Any]:
        """As JSON; times are RFC 3339, UTC."""
        return {
            "state": self.state,
            "since": self.since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "reconnects": self.reconnects,
            "reason": self.reason,
        }
