"""The selector of an event loop whose sockets are polled by the loop's own epoll. Linux only."""

from __future__ import annotations

import math
import os
import select
import selectors
import time
from typing import Any

from ktnet.stream.batch import run_batch
from ktnet.stream.polling import IN, MOST_AT_ONCE, OUT, Poller


class PollingSelector(selectors.EpollSelector):
    """What the poller knows is told as soon as it is found, and the loop hears of all other."""

    def __init__(self) -> None:
        super().__init__()
        self.poller: Poller | None = None
        self.epoll = select.epoll.fromfd(os.dup(self.fileno()))
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As in selectors."""
        key = super().register(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As in selectors."""
        key = super().unregister(fileobj)
        del self._keys[key.fd]
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As in selectors."""
        key = super().modify(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As in selectors. What the poller knows is no reason to return, unless it has left the
        loop something to do: a turn of the loop costs as much as passing some bytes on."""
        poller = self.poller
        assert poller is not None  # noqa: S101  (the loop that selects has been given one)
        known, tell = poller.handlers, poller.tell
        loop: Any = poller.loop
        timers = len(loop._scheduled)
        due_s = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self.epoll.poll(_round_up(timeout), MOST_AT_ONCE)
            others = [each for each in found if each[0] not in known]
            if len(others) < len(found):
                run_batch(tell, found)
            if others or not found or loop._ready or len(loop._scheduled) > timers:
                return self._find_keys(others)
            if due_s is not None and (timeout := due_s - time.monotonic()) <= 0:
                return []

    def _find_keys(self, found: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        ready = []
        for number, events in found:
            if (key := self._keys.get(number)) is not None:
                wanted = selectors.EVENT_WRITE if events & ~IN else 0
                wanted |= selectors.EVENT_READ if events & ~OUT else 0
                ready.append((key, wanted & key.events))
        return ready

    def close(self) -> None:
        """As in selectors."""
        self.epoll.close()
        super().close()


def _round_up(timeout_s: float | None) -> float:
    """For epoll, which counts whole milliseconds: not too early, or the loop would spin through
    the last of them."""
    if timeout_s is None:
        return -1.0
    return math.ceil(timeout_s * 1e3) * 1e-3 if timeout_s > 0 else 0.0
