"""How much of a bulk flow may be on its way while somebody waits for answers.

SSH's windows are sized for throughput, so that a bulk flow keeps megabytes queued in every buffer
of the path, and a keystroke's echo waits behind them. While there is an interactive flow on the
connection, a bulk channel's unacknowledged bytes are held to what the path needs to be busy: its
rate times its least round trip, both learnt from the peer's window adjustments (as BBR does from
acknowledgements, https://dl.acm.org/doi/10.1145/3012426.3022184).
"""

from __future__ import annotations

from math import inf

LEAST_BYTES = 128 * 1024
"""Always allowed: less would cost throughput on fast paths, where it is a fraction of a ms."""

SHORT_S = 0.002
"""A round trip as short as this is processors' time more than a path's: there, rate times round
trip is enough, and what is allowed beyond is a queue. On a far path it is twice that, so that a
faster path is noticed (BBR doubles what it has in its start-up, too)."""

PROBE_GAIN = 0.5
"""The same for a moment, while the least round trip is measured: the path's queue runs empty."""

LEAST_PIECE_BYTES = 32 * 1024
PIECE_S = 0.0005
"""What goes out in one packet lasts so long on the path, or is as small as others' packets: behind
the one that is under way everybody waits."""

FORGET_S = 10.0
"""After which it is measured anew: paths change."""


class Pacer:
    """One channel's bytes in flight."""

    __slots__ = (
        "_acknowledged",
        "_adjustment",
        "_growth",
        "_least_round_trip_s",
        "_measured_s",
        "_probing",
        "_rate",
        "_sample",
        "_sent",
    )

    def __init__(self) -> None:
        self._sent = self._acknowledged = 0
        self._adjustment = 0.0
        self._growth = 0
        self._rate = 0.0
        self._least_round_trip_s = inf
        self._measured_s = 0.0
        self._probing = False
        self._sample: tuple[int, int, float] | None = None

    @property
    def in_flight(self) -> int:
        """Bytes that the peer hasn't acknowledged."""
        return self._sent - self._acknowledged

    def sent(self, count: int, now_s: float) -> None:
        """So many bytes went out."""
        self._sent += count
        if self._sample is None:
            self._sample = (self._sent, self._acknowledged, now_s)

    def window_grows(self, count: int) -> None:
        """By so many bytes, in what the peer is going to say next: it hasn't taken those."""
        self._growth += count

    def acknowledged(self, count: int, now_s: float) -> None:
        """The peer lets us send so many bytes more: it has taken that many, but for growth."""
        if self._growth:
            growth = min(count, self._growth)
            self._growth -= growth
            count -= growth
        self._acknowledged += count
        # It tells in steps, ours in small ones and others in half windows. What it will tell
        # next has to be on its way, or both would wait for each other.
        self._adjustment = max(float(count), self._adjustment * 0.875)
        if self._sample is None or self._acknowledged < self._sample[0]:
            return
        _, acknowledged_then, sent_s = self._sample
        self._sample = None
        round_trip_s = max(now_s - sent_s, 1e-5)
        rate = (self._acknowledged - acknowledged_then) / round_trip_s
        self._rate = max(rate, self._rate * 0.875)
        if self._probing or round_trip_s < self._least_round_trip_s:
            self._least_round_trip_s, self._measured_s = round_trip_s, now_s
            self._probing = False
        elif now_s - self._measured_s > FORGET_S:
            self._probing = True

    def piece(self) -> int:
        """Bytes that one packet may have."""
        return max(LEAST_PIECE_BYTES, int(self._rate * PIECE_S))

    def room(self) -> int | None:
        """Bytes that may go out now; None: not known yet, so don't hold back."""
        if self._least_round_trip_s == inf:
            return None
        least_s = self._least_round_trip_s
        gain = PROBE_GAIN if self._probing else 1 + least_s / (least_s + SHORT_S)
        needed = gain * self._rate * least_s
        allowed = max(LEAST_BYTES, 2 * self._adjustment, needed)
        return max(0, int(allowed) - self.in_flight)
