"""How long an application waits for its connection: seen only by its SYNs, which stop coming.

Linux sends a SYN again after 1, 1, 1, 1, 1, 2, 4, 8 and 16 s (net.ipv4.tcp_syn_linear_timeouts,
before 6.5 doubling from the first), and says nothing when the application gives up.
"""

from __future__ import annotations

FIRST_GAP_S = 1.0
"""TCP_TIMEOUT_INIT: from the first SYN to the second."""

PATIENCE_GAPS = 2.5
"""A gap is at most twice the last one, and the kernel's long timers may be an eighth late."""


class Patience:
    """The SYNs of one attempt to connect."""

    __slots__ = ("_gap_s", "_last_s")

    def __init__(self, now_s: float) -> None:
        self._last_s = now_s
        self._gap_s = FIRST_GAP_S

    def syn_repeated(self, now_s: float) -> None:
        """The same SYN once more."""
        self._gap_s = max(FIRST_GAP_S, now_s - self._last_s)
        self._last_s = now_s

    @property
    def ends_s(self) -> float:
        """When the application has given up, unless another SYN has come."""
        return self._last_s + PATIENCE_GAPS * self._gap_s
