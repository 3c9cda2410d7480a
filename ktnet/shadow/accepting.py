"""A listening socket that is opened and closed at once, without a turn of the loop in between."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from ipaddress import ip_address

BACKLOG = 4096
"""Connections that the kernel may hold for us; it takes no more than net.core.somaxconn."""

MOST_AT_ONCE = 128
"""Accepted in one turn, before others get theirs."""

SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SHORTAGE_PAUSE_S = 0.2


class Acceptor:
    """Accepts on address:port until it is closed; each connection gets a protocol."""

    def __init__(
        self,
        address: str,
        port: int,
        build_protocol: Callable[[], asyncio.BaseProtocol],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Listens from now on (port 0: any free one). OSError where that is not possible."""
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        # With SO_REUSEADDR: connections that have just ended would keep the port from coming back.
        self._socket = socket.create_server((address, port), family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        self._build_protocol = build_protocol
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
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
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def finish(self) -> None:
        """The same, but take first what the kernel has accepted."""
        while self._accept_some():
            pass
        self.close()

    def _read(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._accept_some)

    def _accept_some(self) -> bool:
        """Whether there may be more."""
        for _ in range(MOST_AT_ONCE):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return False
            except OSError as error:
                if error.errno not in SHORTAGE:
                    raise
                # The socket stays readable: don't spin until something has been closed.
                self._loop.remove_reader(self._socket)
                self._pause = self._loop.call_later(SHORTAGE_PAUSE_S, self._read)
                return False
            accepted.setblocking(False)
            self._tasks.create_task(self._adopt(accepted))
        return True

    async def _adopt(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._build_protocol, accepted)
        except OSError:
            accepted.close()
