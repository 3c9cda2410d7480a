"""Whether the holder of a session is there: judged by its Lease and the API server's clock."""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ktnet.cluster.server.api import Api
from ktnet.errors import NotFound

Json = dict[str, Any]

SILENCE_S = 600.0
"""What belongs to others is not cleaned before its holder has been silent for so long: a laptop
that is asleep isn't dead."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a session's Lease says."""

    exists: bool
    silent_s: float = 0.0
    """Since the last renewal, by the server's clock."""
    duration_s: float = 0.0

    @property
    def is_live(self) -> bool:
        """Whether the holder has renewed it in time."""
        return self.exists and self.silent_s <= self.duration_s

    @property
    def is_abandoned(self) -> bool:
        """Whether it has been silent for so long that others may put things back."""
        return not self.exists or self.silent_s > max(self.duration_s, SILENCE_S)


def parse_holding(lease: Json, now: datetime) -> Holding:
    """From a Lease; one that can't be read is taken for renewed just now, and so left alone."""
    spec = lease.get("spec") or {}
    try:
        renewed = datetime.fromisoformat(spec["renewTime"])
        duration_s = float(spec["leaseDurationSeconds"])
        silent_s = max(0.0, (now - renewed) / timedelta(seconds=1))
    except (KeyError, TypeError, ValueError):
        return Holding(exists=True, duration_s=SILENCE_S)
    return Holding(exists=True, silent_s=silent_s, duration_s=duration_s)


async def read_holding(api: Api, namespace: str, session: str) -> Holding:
    """Of the session of that name. Raises Forbidden, ClusterUnreachable."""
    try:
        lease = await api.get("leases", session, namespace=namespace)
    except NotFound:
        return Holding(exists=False)
    return parse_holding(lease, api.now())


def describe_silence(silent_s: float) -> str:
    """For people: "12 s", "7 min", "3 h"."""
    for limit_s, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if silent_s < limit_s:
            return f"{silent_s / unit_s:.0f} {unit}"
    return f"{silent_s / 86400:.0f} days"


def find_holder() -> str:
    """Who we are, user@host: for people who look at the Lease, and to know our own again."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A uid without a name, as in containers.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
