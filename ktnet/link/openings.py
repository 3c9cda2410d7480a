"""Opens flows: a `direct-tcpip` channel each (RFC 4254 section 7.2)."""

from __future__ import annotations

import asyncio

import asyncssh

from ktnet.link.failures import build_open_failure
from ktnet.stream.carrier import Carrier
from ktnet.wire.channel import ChannelFlow, Surroundings
from ktnet.wire.flow import OpenFailure, Receiver
from ktnet.wire.window import PACKET_BYTES, WindowBudget


class ChannelOpening:
    """A channel that is being opened, for one receiver (a `ktnet.wire.flow.Opening`).

    SSH can't take an open request back. Who gives up is told nothing more, but the request stays
    until the shadow has answered it, and a channel that opens then is closed at once: asyncssh
    would lose a channel whose opening task is cancelled.
    """

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        carrier: Carrier,
        windows: WindowBudget,
        receiver: Receiver,
        surroundings: Surroundings,
    ) -> None:
        self._connection = connection
        self._carrier = carrier
        self._windows = windows
        self._window_bytes = windows.take()
        self._receiver = receiver
        self._traffic = surroundings.traffic
        self._flow = ChannelFlow(receiver, surroundings, self._gone)
        self._open = False
        self._cancelled = False

    def cancel(self) -> None:
        """Give up."""
        self._cancelled = True
        self._flow.abandon()

    async def run(self, host: str, port: int, origin: tuple[str, int]) -> None:
        """Open; the receiver is told how that went."""
        try:
            channel: asyncssh.SSHTCPChannel[bytes] = self._connection.create_tcp_channel(
                None, "strict", self._window_bytes, PACKET_BYTES
            )
            self._flow.watch(channel)
            await channel.connect(self._take_flow, host, port, *origin)
        except asyncssh.ChannelOpenError as error:
            if self._connection.is_closed():
                self.fail(OpenFailure.TUNNEL_DOWN)
            else:
                self.fail(build_open_failure(error.code))
        finally:
            if not self._open:
                self._gone()

    def fail(self, failure: OpenFailure) -> None:
        """Tell the receiver, where it still wants to hear it."""
        self._traffic.flows_failed += 1
        if not self._cancelled:
            self._receiver.open_failed(failure)

    def _take_flow(self) -> asyncssh.SSHTCPSession[bytes]:
        self._open = True
        session: asyncssh.SSHTCPSession[bytes] = self._carrier.build_session(self._flow)
        return session

    def _gone(self) -> None:
        self._windows.give_back(self._window_bytes)


class DeadOpening:
    """What `open_tcp` gives where there is no tunnel (a `ktnet.wire.flow.Opening`)."""

    def __init__(self, receiver: Receiver) -> None:
        self._handle = asyncio.get_running_loop().call_soon(
            receiver.open_failed, OpenFailure.TUNNEL_DOWN
        )

    def cancel(self) -> None:
        """Give up."""
        self._handle.cancel()
