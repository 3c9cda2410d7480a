"""A local port whose every connection is a flow to one place at the far side."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from ktnet.stream.accepting import Acceptor, listen
from ktnet.stream.joining import Passage
from ktnet.stream.polledflow import PolledFlow
from ktnet.stream.polling import get_poller
from ktnet.wire.flow import Dialer, OpenFailure

Failed = Callable[[OpenFailure], object]


class _Application(Passage):
    """An application's connection, which waits for its flow."""

    def __init__(
        self,
        client: PolledFlow,
        peer: tuple[str, int],
        dialer: Dialer,
        target: tuple[str, int],
        failed: Failed,
    ) -> None:
        super().__init__(client, lambda far: dialer.open_tcp(*target, peer, far))
        self._failed = failed

    def far_failed(self, failure: OpenFailure) -> None:
        """The kernel has accepted already: a reset is as near as one comes to a refusal."""
        self._failed(failure)
        super().far_failed(failure)


@asynccontextmanager
async def open_listener(
    address: str,
    port: int,
    dialer: Dialer,
    target: tuple[str, int],
    failed: Failed = lambda _: None,
) -> AsyncIterator[int]:
    """Listen on address:port (0: any free one) and relay to `target` (host, port) through `dialer`.

    Yields the port; a name is listened on at each of its addresses. `failed` hears of each
    connection that the far side could not make; the application sees it reset. OSError where the
    address is taken or not this machine's.
    """
    poller = get_poller()

    def accepted(sock: socket.socket, peer: Any) -> None:
        flow = PolledFlow(sock, poller)
        flow.register()
        flow.attach(_Application(flow, (peer[0], peer[1]), dialer, target, failed))

    found = await asyncio.get_running_loop().getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    with ExitStack() as parts:
        acceptors = []
        for family, *_, where in dict.fromkeys(found):
            acceptors.append(Acceptor(listen(family, str(where[0]), port), accepted))
            parts.callback(acceptors[-1].close)
        yield acceptors[0].port
