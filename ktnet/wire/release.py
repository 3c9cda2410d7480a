"""Which release this is, and how a shadow says which it is of: pure."""

from __future__ import annotations

import re

VERSION = "0.1.0"
"""Of client and shadow alike; the distribution's metadata are made from it."""

SSH_VERSION = f"ktnet_{VERSION}"
"""The shadow's softwareversion in SSH (RFC 4253 section 4.2)."""

_GREETING = re.compile(r"SSH-2\.0-ktnet_(?P<version>[0-9A-Za-z.+]{1,32})")


def parse_greeting(line: str) -> str:
    """The release in a shadow's greeting, "SSH-2.0-..."; empty where it names none of ours."""
    match = _GREETING.fullmatch(line)
    return match["version"] if match else ""
