"""A listening socket that is opened and closed at once, without a turn of the loop in between."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

from ktnet.stream.polling import get_poller

BACKLOG = 4096
"""Connections that the kernel may hold for us; it takes no more than net.core.somaxconn."""

MOST_AT_ONCE = 128
"""Accepted in one turn, before others get theirs."""

SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SHORTAGE_PAUSE_S = 0.2

Accepted = Callable[[socket.socket, Any], object]
"""Is given a connection's socket, which doesn't block, and the address of who has connected."""


def listen(family: int, address: str, port: int) -> socket.socket:
    """A socket that listens on exactly this address. OSError where that is not possible."""
    # With SO_REUSEADDR: connections that have just ended would keep the port from coming back.
    sock = socket.create_server((address, port), family=family, backlog=BACKLOG)
    sock.setblocking(False)
    # What is accepted inherits it (tcp(7)).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Acceptor:
    """Accepts until it is closed."""

    def __init__(self, listening: socket.socket, accepted: Accepted) -> None:
        """Accepts from now on; the socket is closed with it."""
        self._socket = listening
        self._accepted = accepted
        self._poller = get_poller()
        self._pause: asyncio.TimerHandle | None = None
        self._read()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Listen no more. What the kernel has accepted and we haven't is reset by it."""
        if self._pause is not None:
            self._pause.cancel()
        self._poller.remove(self._socket)
        self._socket.close()

    def finish(self) -> None:
        """The same, but take first what the kernel has accepted."""
        while self._accept_some():
            pass
        self.close()

    def _read(self) -> None:
        self._pause = None
        self._poller.add_listening(self._socket, self._tell)

    def _tell(self, _events: int) -> None:
        self._accept_some()

    def _accept_some(self) -> bool:
        """Whether there may be more."""
        for _ in range(MOST_AT_ONCE):
            try:
                accepted, peer = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return False
            except OSError as error:
                if error.errno not in SHORTAGE:
                    raise
                # The socket stays readable: don't spin until something has been closed.
                self._poller.remove(self._socket)
                self._pause = self._poller.loop.call_later(SHORTAGE_PAUSE_S, self._read)
                return False
            accepted.setblocking(False)
            self._accepted(accepted, peer)
        return True
