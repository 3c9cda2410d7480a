"""The event loop of what carries flows: see `ktnet.stream.polling`."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Coroutine
from typing import Any, TypeVar

from ktnet.stream.polling import CURRENT, Poller

Result = TypeVar("Result")


def new_loop() -> asyncio.AbstractEventLoop:
    """One that is cheap for many sockets, where there is epoll(7); else any."""
    if not hasattr(select, "epoll"):
        return asyncio.new_event_loop()
    from ktnet.stream.selector import PollingSelector  # noqa: PLC0415 -- Linux only

    selector = PollingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    selector.poller = CURRENT.poller = Poller(loop, selector.epoll)
    return loop


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As asyncio.run does, on such a loop."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)
