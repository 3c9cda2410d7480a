"""Whether this machine was away for so long that others could take it for gone."""

from __future__ import annotations

from collections.abc import Callable

from ktnet.link.sleep import read_boottime_s

_HEARD_WITHIN_S = 30.0
"""Of what has become of the Service, once this machine is back: the watch is dialled anew."""


class Absence:
    """Known by the renewals of a Lease, on a clock that goes on while the machine sleeps."""

    def __init__(self, least_s: float, clock_s: Callable[[], float] = read_boottime_s) -> None:
        """`least_s`: how long the Lease is good for."""
        self._least_s = least_s
        self._clock_s = clock_s
        self._renewed_s = clock_s()
        self._back_s = -_HEARD_WITHIN_S - least_s

    def note_renewal(self) -> None:
        """The Lease was."""
        now_s = self._clock_s()
        if now_s - self._renewed_s >= self._least_s:
            self._back_s = now_s
        self._renewed_s = now_s

    @property
    def is_recent(self) -> bool:
        """It is away now, by what it knows, or was a moment ago."""
        now_s = self._clock_s()
        is_away = now_s - self._renewed_s >= self._least_s
        return is_away or now_s - self._back_s < _HEARD_WITHIN_S
