"""Which sockets have something for us, past asyncio's readers and writers (epoll(7)).

asyncio makes several objects and up to six system calls of each socket's registration, and takes
it back whenever nothing is to be read for a while. Here a socket is registered once, edge
triggered: its owner hears of each change, and remembers it while it doesn't want to know.
Linux only.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable

from ktnet.stream.batch import call_soon, is_batch_running, report, run_batch
from ktnet.stream.scratch import Scratch
from ktnet.wire.window import INTERACTIVE_PACKET_BYTES, PACKET_BYTES

Handler = Callable[[int], object]
"""Is told which of the events below there are."""

READ_BYTES = PACKET_BYTES
"""Taken from a socket at once."""

MOST_AT_ONCE = 256
"""Events of one batch: then others get their turn."""

# As in epoll_ctl(2): `select` has the names on Linux alone.
IN, OUT = 0x001, 0x004
BROKEN = 0x008
ENDED = 0x2000 | 0x010 | BROKEN  # EPOLLRDHUP, EPOLLHUP
_EDGE_TRIGGERED = 1 << 31

_READING = IN | 0x2000 | _EDGE_TRIGGERED
_BOTH = _READING | OUT


class Poller:
    """All sockets of one event loop that are polled so."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoll: select.epoll) -> None:
        self.loop = loop
        self.scratch = Scratch(READ_BYTES)
        """For whoever reads; what is in it has to be passed on before the next one does."""
        self.interactive_until_s = 0.0
        """As `time.monotonic` counts: until then somebody waits for answers."""
        self.is_single = False
        """Whether what is being told is all that there was: nothing else is worth waiting for."""
        self._epoll = epoll
        self.handlers: dict[int, Handler] = {}
        """By descriptor."""

    def find_room(self) -> memoryview:
        """Where to read into now, and no more than that before others get their turn."""
        room = self.scratch.room
        if time.monotonic() < self.interactive_until_s:
            return room[:INTERACTIVE_PACKET_BYTES]
        return room

    def add(self, sock: socket.socket, handler: Handler, *, writing: bool = False) -> None:
        """Have each change told: bytes, ends and errors, where wanted also room to write into."""
        self._add(sock, handler, _BOTH if writing else _READING)

    def add_listening(self, sock: socket.socket, handler: Handler) -> None:
        """Have it told, again and again, that there are connections."""
        self._add(sock, handler, IN)

    def _add(self, sock: socket.socket, handler: Handler, events: int) -> None:
        number = sock.fileno()
        self._epoll.register(number, events)
        self.handlers[number] = handler

    def hand_over(self, sock: socket.socket, handler: Handler) -> None:
        """Somebody else is to hear of it."""
        self.handlers[sock.fileno()] = handler

    def watch_room(self, sock: socket.socket) -> None:
        """Have room to write into told as well, from now on."""
        self._epoll.modify(sock.fileno(), _BOTH)

    def remove(self, sock: socket.socket) -> None:
        """Tell nothing more of it."""
        number = sock.fileno()
        if self.handlers.pop(number, None) is not None:
            self._epoll.unregister(number)  # closing isn't enough where there is a duplicate

    def close(self, sock: socket.socket) -> None:
        """Remove and close it."""
        self.remove(sock)
        if is_batch_running():
            # Its number must not become another's while there may be events of this one.
            call_soon(sock.close)
        else:
            sock.close()

    def tell(self, found: list[tuple[int, int]]) -> None:
        """What epoll has found: descriptors and their events."""
        self.is_single = len(found) == 1
        for number, events in found:
            if (handler := self.handlers.get(number)) is None:
                continue
            try:
                handler(events)
            except Exception as error:  # there are other sockets
                report(handler, error)
        self.is_single = False


class Current(threading.local):
    """What `ktnet.stream.loop` has made for this thread's event loop, or `get_poller` has."""

    poller: Poller | None = None


CURRENT = Current()


def find_poller() -> Poller | None:
    """The same; None where there is no epoll."""
    return get_poller() if hasattr(select, "epoll") else None


def get_poller() -> Poller:
    """The running event loop's; with an epoll below the loop's where it isn't one of ours."""
    loop = asyncio.get_running_loop()
    poller = CURRENT.poller
    if poller is None or poller.loop is not loop:
        epoll = select.epoll()
        poller = CURRENT.poller = Poller(loop, epoll)
        tell = poller.tell
        loop.add_reader(epoll.fileno(), lambda: run_batch(tell, epoll.poll(0, MOST_AT_ONCE)))
    return poller
