"""Writing an object that others write too: what says that they were first, and waiting for them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable

from ktnet.cluster.server.answers import Refused
from ktnet.errors import Conflict, NotFound

UNPROCESSABLE = 422
"""Of a JSON patch: the object isn't as its `test` says (RFC 6902)."""


async def is_first(write: Awaitable[object]) -> bool:
    """Make a guarded write; False where the object is another one by now, or is gone.

    Raises what the API server says otherwise.
    """
    try:
        await write
    except (Conflict, NotFound):
        return False
    except Refused as error:
        if error.code != UNPROCESSABLE:
            raise
        return False
    return True


async def wait_for_others(attempt: int) -> None:
    """Somebody else has written it; perhaps they write it often."""
    await asyncio.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - no secret
