"""What the plots show: a session's rates and round trips over time. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

MOST_SAMPLES = 600
"""Of a session: ten minutes at one a second."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment of one session."""

    at_s: float
    """Unix time."""
    up_bytes_per_s: float | None
    """None where no earlier sample says from where to count."""
    down_bytes_per_s: float | None
    round_trip_s: float | None
    """None where the tunnel gave no answer."""
    flows_open: int


class History:
    """The samples of one session, the oldest forgotten first."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=MOST_SAMPLES)
        self._last: tuple[float, int, int] | None = None

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, at_s: float, status: dict[str, Any], round_trip_s: float | None) -> Sample:
        """Notes what `ktnet status` says of the session at `at_s` (Unix time)."""
        counts = status.get("flows") or {}
        up, down = int(counts.get("bytes_up", 0)), int(counts.get("bytes_down", 0))
        rates: tuple[float, float] | None = None
        if self._last is not None:
            then_s, up_then, down_then = self._last
            # Clocks are set, and counters begin anew with a session that got the same pid.
            if at_s > then_s and up >= up_then and down >= down_then:
                passed_s = at_s - then_s
                rates = (up - up_then) / passed_s, (down - down_then) / passed_s
        self._last = (at_s, up, down)
        sample = Sample(
            at_s,
            rates[0] if rates else None,
            rates[1] if rates else None,
            round_trip_s,
            int(counts.get("flows_open", 0)),
        )
        self._samples.append(sample)
        return sample

    def list_samples(self) -> list[Sample]:
        """All there are, the oldest first."""
        return list(self._samples)
