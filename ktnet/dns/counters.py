"""What the proxy has seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Since the proxy was opened."""

    queries: int = 0
    """Well-formed ones, the sum of `cluster`, `outside` and `refused`."""
    refused: int = 0
    """Of types, or for names, that we pass to nobody."""
    cluster: int = 0
    """For names of the cluster."""
    cluster_cached: int = 0
    """Of these, answered from memory."""
    cluster_failures: int = 0
    """Of these, answered with our own SERVFAIL since the cluster gave no answer."""
    outside: int = 0
    """For all other names."""
    outside_cached: int = 0
    outside_failures: int = 0
    malformed: int = 0
    """What came to our sockets and was no query."""
    dropped: int = 0
    """Queries over UDP that got no answer, since too many others were being asked for."""
