"""The server's time, as far as its answers tell: pure.

A Lease is judged by the cluster's clock, and a laptop's may be minutes off.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime


class ServerClock:
    """Learns how far the server's clock is ahead of ours from `Date` headers (RFC 9110 6.6.1).

    `Date` has whole seconds, so each answer only bounds the difference; every further answer
    narrows it. All times are seconds since the epoch, by our clock.
    """

    def __init__(self) -> None:
        self._low_s = self._high_s = 0.0
        self._known = False

    @property
    def ahead_s(self) -> float:
        """Best guess of server time minus our time; 0 while nothing is known."""
        return (self._low_s + self._high_s) / 2

    def observe(self, date: str, sent_s: float, received_s: float) -> None:
        """Take in the Date of an answer; what isn't a date is passed over."""
        try:
            stamped_s = parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            return
        low_s, high_s = stamped_s - received_s, stamped_s + 1 - sent_s
        if self._known and low_s <= self._high_s and high_s >= self._low_s:
            self._low_s, self._high_s = max(low_s, self._low_s), min(high_s, self._high_s)
        else:
            # The first one, or one of the clocks was set meanwhile.
            self._low_s, self._high_s, self._known = low_s, high_s, True

    def read(self, now_s: float) -> datetime:
        """The server's time when ours is `now_s`."""
        return datetime.fromtimestamp(now_s, UTC) + timedelta(seconds=self.ahead_s)
