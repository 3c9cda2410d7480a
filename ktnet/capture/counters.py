"""What a capture has done so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counters:
    """Plain numbers, read by whoever shows them."""

    flows_open: int = 0
    """Connections that the far side has accepted and that are not over."""
    flows_total: int = 0
    """Attempts to connect."""
    flows_failed: int = 0
    """Of these: the far side could not connect."""
    flows_abandoned: int = 0
    """Of these: the application gave up before the far side answered."""
    flows_reset: int = 0
    """Opened, and then ended by a reset from either side."""
    bytes_up: int = 0
    """From applications to the far side."""
    bytes_down: int = 0
    packets_refused: int = 0
    """Answered with "prohibited": UDP and ping."""
    packets_dropped: int = 0
    """Neither carried nor answered: other protocols, fragments, garbage, and what the device did
    not take."""
