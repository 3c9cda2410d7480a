"""What was read, as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import json
from typing import Any


def build_event(name: str, value: Any) -> bytes:
    """One event; JSON has no line feeds of its own, so it is one `data` line."""
    return f"event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode()
