"""By which labels the objects are known that ktnet makes: pure."""

from __future__ import annotations

from typing import Any

MANAGED = {"app.kubernetes.io/managed-by": "ktnet"}
"""All of them have it."""

COMMAND_LABEL = "ktnet.dev/command"
"""Of ktnet, that they were made for. (The session's is `ktnet.wire.meshrecord.SESSION_LABEL`.)"""


def is_managed(obj: dict[str, Any]) -> bool:
    """Whether it is one of them."""
    return MANAGED.items() <= (obj["metadata"].get("labels") or {}).items()
