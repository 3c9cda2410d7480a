"""How many connections a process may hold."""

from __future__ import annotations

import resource


def raise_descriptor_limit() -> None:
    """Every flow takes a descriptor, and the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
