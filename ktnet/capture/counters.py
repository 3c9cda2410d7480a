"""What a capture has done so far."""

from __future__ import annotations

from dataclasses import dataclass

from ktnet.stream import ledger


@dataclass
class Counters(ledger.Counters):
    """Of its connections, as every session counts them, and of packets."""

    packets_refused: int = 0
    """Answered with "prohibited": UDP and ping."""
    packets_dropped: int = 0
    """Neither carried nor answered: other protocols, fragments, garbage, and what the device did
    not take."""
