"""The selector of an event loop whose sockets are polled by the loop's own epoll. Linux only."""

from __future__ import annotations

import math
import os
import select
import selectors
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
        """As in selectors."""
        if timeout is None:
            wait_s = -1.0
        else:
            # In whole milliseconds, and not too early: else the loop would spin through the last.
            wait_s = math.ceil(timeout * 1e3) * 1e-3 if timeout > 0 else 0
        found = self.epoll.poll(wait_s, MOST_AT_ONCE)
        others = found
        if self.poller is not None:
            known = self.poller.handlers
            if ours := [each for each in found if each[0] in known]:
                others = [each for each in found if each[0] not in known]
                run_batch(self.poller.tell, ours)
        ready = []
        for number, events in others:
            if (key := self._keys.get(number)) is not None:
                wanted = selectors.EVENT_WRITE if events & ~IN else 0
                wanted |= selectors.EVENT_READ if events & ~OUT else 0
                ready.append((key, wanted & key.events))
        return ready

    def close(self) -> None:
        """As in selectors."""
        self.epoll.close()
        super().close()
