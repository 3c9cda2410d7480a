"""What a link is like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

LONGEST_DELAY_MS = 10_000.0
HIGHEST_RATE_MBIT = 100_000.0
MOST_QUEUE_KIB = 1 << 20

LEAST_QUEUE_BYTES = 256 * 1024
"""Of a queue that nobody has given a size: four super-packets of 64 KiB."""

LEAST_QUEUE_S = 0.05
"""For a link without delay, what such a queue is measured by."""


@dataclass(frozen=True)
class Conditions:
    """A link's two directions are alike, and lose by numbers of their own.

    Raises ValueError for what no link can be like.
    """

    delay_ms: float = 0.0
    """Added to a round trip: half of it in each direction."""
    rate_mbit: float = 0.0
    """Millions of bits a second, of whole Ethernet frames, in each direction; 0: no limit."""
    share: float = 0.0
    """Of 1: the share of IP packets that are lost in each direction, each by itself."""
    queue_kib: float = 0.0
    """What may wait for its turn at the rate; 0: one round trip's worth."""
    seed: int = 1
    """The same seed and the same packets: the same losses."""

    def __post_init__(self) -> None:
        for name, most in (
            ("delay_ms", LONGEST_DELAY_MS),
            ("rate_mbit", HIGHEST_RATE_MBIT),
            ("share", 1),
            ("queue_kib", MOST_QUEUE_KIB),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name}: a number")  # noqa: TRY004 -- what a user has typed
            if not 0 <= value <= most:
                raise ValueError(f"{name}: 0 to {most:.0f}")
        if not isinstance(self.seed, int):
            raise ValueError("seed: a whole number")  # noqa: TRY004

    @property
    def is_none(self) -> bool:
        """Whether the link is to be as it is."""
        return not (self.delay_ms or self.rate_mbit or self.share)

    @property
    def one_way_s(self) -> float:
        """The delay of one direction (s)."""
        return self.delay_ms / 2000

    @property
    def bytes_per_s(self) -> float:
        """The rate; 0: no limit."""
        return self.rate_mbit * 1e6 / 8

    @property
    def queue_bytes(self) -> float:
        """What may wait for its turn: as much as given, else a bandwidth-delay product."""
        if self.queue_kib:
            return self.queue_kib * 1024
        return max(
            self.bytes_per_s * max(self.delay_ms / 1000, LEAST_QUEUE_S), float(LEAST_QUEUE_BYTES)
        )


def parse_conditions(said: Mapping[str, Any]) -> Conditions:
    """Those that are named, whatever else is said; raises ValueError."""
    names = [field.name for field in fields(Conditions)]
    return Conditions(**{name: said[name] for name in names if said.get(name) is not None})
