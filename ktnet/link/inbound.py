"""Connections that come from the cluster: the shadow listens, and we connect each to its target.

Remote forwarding as in RFC 4254 section 7.1, but for the causes: a target that can't be connected
to is told by the reason codes of `ktnet.wire.flow.OpenFailure`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import asyncssh

from ktnet.errors import TunnelError
from ktnet.stream.carrier import Carrier
from ktnet.stream.internals import set_next_window
from ktnet.stream.ledger import Ends, Ledger
from ktnet.stream.target import EchoReceiver, TargetFailed, connect_target, relay
from ktnet.wire.channel import ChannelFlow, Surroundings
from ktnet.wire.flow import OpenFailure, Receiver
from ktnet.wire.window import PACKET_BYTES, WindowBudget

log = logging.getLogger(__name__)

Target = tuple[str, int]

CONNECT_TIMEOUT_S = 2.0
"""For the target to answer. The shadow waits a little longer for us, and then takes us for gone
(`ktnet.shadow.laptop`)."""


class InboundListener:
    """A port that the shadow listens on for us."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        carrier: Carrier,
        windows: WindowBudget,
        surroundings: Surroundings,
        port: int,
        target: Target,
        ledger: Ledger,
    ) -> None:
        self.port = port
        self._connection = connection
        self._carrier = carrier
        self._windows = windows
        self._surroundings = surroundings
        self._target = target
        self._ledger = ledger
        self._probes: list[str] = []
        self._connecting: set[asyncio.Task[Any]] = set()
        self._listener: asyncssh.SSHListener | None = None
        self._window_bytes = windows.take()

    async def open(self) -> None:
        """Ask the shadow to listen. Raises TunnelError."""
        try:
            self._listener = await self._connection.create_server(
                self._connect,
                "",
                self.port,
                encoding=None,
                window=self._window_bytes,
                max_pktsize=PACKET_BYTES,
            )
        except (asyncssh.ChannelListenError, asyncssh.Error, OSError) as error:
            self._windows.give_back(self._window_bytes)
            raise TunnelError(
                f"the shadow does not listen on port {self.port} of its pod",
                hint="its log says why: is the port taken there?",
            ) from error

    async def close(self) -> None:
        """Take no more; connections that are open stay."""
        assert self._listener is not None  # noqa: S101  (it has been opened)
        self._windows.give_back(self._window_bytes)
        if not self._connection.is_closed():
            self._listener.close()
            await self._listener.wait_closed()
        else:
            for task in self._connecting:
                task.cancel()

    @contextmanager
    def expect_probe(self, address: str) -> Iterator[None]:
        """Meanwhile, echo to what comes from this address instead of connecting it."""
        self._probes.append(address)
        try:
            yield
        finally:
            self._probes.remove(address)

    async def _connect(self, host: str, port: int) -> Any:
        """The session of a channel that the shadow opens for a caller (address and port)."""
        window_bytes = self._window_bytes
        self._window_bytes = self._windows.take()
        set_next_window(self._listener, self._window_bytes)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (narrows the type)
        self._connecting.add(task)
        try:
            receiver = await self._open_receiver(host, port)
        except BaseException as error:
            self._windows.give_back(window_bytes)
            if not isinstance(error, TargetFailed):
                raise
            log.info("%s:%d -> port %d: %s", host, port, self.port, error.reason)
            self._surroundings.traffic.flows_failed += 1
            self._ledger.failed()
            raise asyncssh.ChannelOpenError(error.failure.value, error.reason) from error
        finally:
            self._connecting.discard(task)
        flow = ChannelFlow(
            receiver, self._surroundings, partial(self._windows.give_back, window_bytes)
        )
        return _watch_from_the_start(self._carrier.build_session(flow), flow)

    async def _open_receiver(self, host: str, port: int) -> Receiver:
        if host in self._probes:
            return EchoReceiver()
        flow = await connect_target(*self._target, timeout_s=CONNECT_TIMEOUT_S)
        if self._connection.is_closed():
            flow.reset()
            raise TargetFailed(OpenFailure.SHORTAGE, "the tunnel broke meanwhile")
        log.debug("%s:%d -> port %d: connected to %s:%d", host, port, self.port, *self._target)
        ends = Ends((host, port), self._target, flow.ends, is_inbound=True)
        return self._ledger.begin(ends, relay(flow))


def _watch_from_the_start(session: Any, flow: ChannelFlow) -> Any:
    """asyncssh shows the channel of an inbound connection no earlier than to its session."""
    connection_made = session.connection_made

    def watch_and_begin(channel: Any) -> None:
        flow.watch(channel)
        connection_made(channel)

    session.connection_made = watch_and_begin
    return session


@asynccontextmanager
async def open_inbound_listener(
    connection: asyncssh.SSHClientConnection,
    carrier: Carrier,
    windows: WindowBudget,
    surroundings: Surroundings,
    port: int,
    target: Target,
    ledger: Ledger,
) -> AsyncIterator[InboundListener]:
    """See `ktnet.link.connection.Link.listen`."""
    listener = InboundListener(connection, carrier, windows, surroundings, port, target, ledger)
    await listener.open()
    try:
        yield listener
    finally:
        await listener.close()
