"""What is done in one go: events that came together, and at their end what they have to send.

Small SSH packets that are sealed in one batch leave by one system call, and nobody has to guess
whether more is to come.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

Call = tuple[Callable[..., object], tuple[object, ...]]


class _Running(threading.local):
    """What this thread's batch has left for later; both None: none is running."""

    soon: deque[Call] | None = None
    last: dict[Callable[[], object], None] | None = None


_running = _Running()


def run_batch(work: Callable[..., object], *arguments: object) -> None:
    """Do this, and then what it has left for later."""
    if _running.soon is not None:
        work(*arguments)
        return
    soon = _running.soon = deque()
    last = _running.last = {}
    try:
        work(*arguments)
        while soon or last:
            _call_next(soon, last)
    finally:
        _running.soon = _running.last = None


def _call_next(soon: deque[Call], last: dict[Callable[[], object], None]) -> None:
    if soon:
        callback, arguments = soon.popleft()
    else:
        callback, arguments = last.popitem()[0], ()
    try:
        callback(*arguments)
    except Exception as error:  # the others are still to be called
        report(callback, error)


def is_batch_running() -> bool:
    """Whether what is called now is part of one."""
    return _running.soon is not None


def call_soon(callback: Callable[..., object], *arguments: object) -> None:
    """Call this when the call under way is over: in this batch, or in the loop's next turn."""
    if (soon := _running.soon) is not None:
        soon.append((callback, arguments))
    else:
        asyncio.get_running_loop().call_soon(callback, *arguments)


def call_last(callback: Callable[[], object]) -> bool:
    """Call this once at the running batch's end, however often that is said; False: none runs."""
    if (last := _running.last) is None:
        return False
    last[callback] = None
    return True


def report(callback: Callable[..., object], error: Exception) -> None:
    """As the event loop does where a callback of its own fails."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": f"{callback!r} failed", "exception": error}
    )
