"""Opens flows: an SSH channel each, `direct-tcpip` from the laptop's end and `forwarded-tcpip` from
the shadow's (RFC 4254 section 7.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

from ktnet.stream.carrier import Carrier
from ktnet.stream.control import ChannelControl
from ktnet.wire.channel import ChannelFlow, Surroundings
from ktnet.wire.flow import OpenFailure, Receiver
from ktnet.wire.window import PACKET_BYTES, WindowBudget

Channel = asyncssh.SSHTCPChannel[bytes]
Begin = Callable[[Channel, Callable[[], Any]], Awaitable[object]]
"""Sends the request to open this channel; when it is open, its session comes from the factory."""

_OPEN_FAILURES = {failure.value: failure for failure in OpenFailure} | {
    # RFC 4254 section 5.1, as servers other than ours use them. OpenSSH says "connect failed"
    # for every cause.
    1: OpenFailure.PROHIBITED,
    2: OpenFailure.REFUSED,
    3: OpenFailure.PROHIBITED,
    4: OpenFailure.SHORTAGE,
}


def build_open_failure(code: int) -> OpenFailure:
    """What the reason code of SSH_MSG_CHANNEL_OPEN_FAILURE means for the flow."""
    failure = _OPEN_FAILURES.get(code, OpenFailure.PROHIBITED)
    return OpenFailure.PROHIBITED if failure is OpenFailure.TUNNEL_DOWN else failure


class ChannelOpening:
    """A channel that is being opened, for one receiver (a `ktnet.wire.flow.Opening`).

    SSH can't take an open request back. Who gives up is told nothing more, but the request stays
    until the other end has answered it, and a channel that opens then is closed at once: asyncssh
    would lose a channel whose opening task is cancelled.
    """

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection | asyncssh.SSHServerConnection,
        carrier: Carrier,
        windows: WindowBudget,
        receiver: Receiver,
        surroundings: Surroundings,
    ) -> None:
        self._connection = connection
        self._carrier = carrier
        self._windows = windows
        self._window_bytes = 0
        self._receiver = receiver
        self._traffic = surroundings.traffic
        self._flow = ChannelFlow(receiver, surroundings, self._gone)
        self._open = False
        self._cancelled = False

    def cancel(self) -> None:
        """Give up."""
        self._cancelled = True
        self._flow.abandon()

    def give_up(self, failure: OpenFailure) -> None:
        """Tell the receiver that it has failed, whatever is answered later."""
        if not self._cancelled:
            self._receiver.open_failed(failure)
        self.cancel()

    # -- by control of our own (a `ktnet.stream.control.Client`) ------------------------------

    def ask(
        self, control: ChannelControl, target: tuple[str, int], origin: tuple[str, int]
    ) -> None:
        """Ask for a `direct-tcpip` channel; the receiver is told how that went."""
        self._window_bytes = self._windows.take_first()
        control.ask(self, target, origin, self._window_bytes)

    def build_session(self) -> Any:
        """It is open."""
        return self._take_flow()

    def open_refused(self, code: int) -> None:
        """The other end says no."""
        self._gone()
        self.fail(build_open_failure(code))

    def open_lost(self) -> None:
        """The connection broke meanwhile."""
        self._gone()
        self.fail(OpenFailure.TUNNEL_DOWN)

    # -- by asyncssh's -------------------------------------------------------------------------

    async def run(self, begin: Begin) -> None:
        """Open; the receiver is told how that went."""
        self._window_bytes = self._windows.take()
        try:
            channel: Channel = self._connection.create_tcp_channel(
                None, "strict", self._window_bytes, PACKET_BYTES
            )
            self._flow.watch(channel)
            await begin(channel, self._take_flow)
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
