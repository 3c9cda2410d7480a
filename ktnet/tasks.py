"""Tasks that accompany something and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Over(Exception):
    """The body has ended: so do its tasks."""


@asynccontextmanager
async def open_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup whose tasks are cancelled when the body ends.

    What the body or a task raises comes out by itself, not in a group: callers want to catch it
    by its kind. Where several have failed at once, the first one is it.
    """
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            raise _Over
    except BaseExceptionGroup as group:
        _, failures = group.split(_Over)
        failure = failures.exceptions[0] if failures else None
    if failure is not None:
        raise failure
