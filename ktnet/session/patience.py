"""Undoing, although the API server may be away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ktnet.errors import ClusterUnreachable

RETRY_INTERVAL_S = 1.0

T = TypeVar("T")


async def retry_while_away(undo: Callable[[], Awaitable[T]], for_s: float) -> T:
    """What `undo` returns, tried again for so long. Raises what it raises last."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + for_s
    while True:
        try:
            return await undo()
        except ClusterUnreachable:
            if loop.time() >= give_up_at:
                raise
        await asyncio.sleep(RETRY_INTERVAL_S)
