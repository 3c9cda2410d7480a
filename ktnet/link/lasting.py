"""A dialer that outlives connections: who comes while there is none waits for the next.

What one connection has opened ends with it; what it was still opening is opened again on the next
one, as a SYN that was lost would be sent again.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ktnet.errors import DnsError, TunnelError
from ktnet.link.waiting import PATIENCE_S, WaitingRoom
from ktnet.wire.flow import Dialer, OpenFailure, Opening, Receiver

ANSWER_TIMEOUT_S = 5.0
"""What resolvers on this machine wait for an answer (resolv.conf(5), `timeout`)."""


class Attached(Dialer, Protocol):
    """One connection, as a `ktnet.link.connection.Link` is."""

    @property
    def closed(self) -> TunnelError | None:
        """Why it is no more; None while it is up."""

    async def ask(self, query: bytes, timeout_s: float = ...) -> bytes:
        """Have the cluster's resolver answer."""

    async def round_trip(self, timeout_s: float = ...) -> float:
        """Seconds to the shadow and back."""


class LastingDialer:
    """Opens flows and asks names on whatever connection there is (a `ktnet.wire.flow.Dialer`)."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._link: Attached | None = None
        self._attached = asyncio.Event()
        self._waiting: WaitingRoom[LastingOpening] = WaitingRoom(patience_s)
        self._timer: asyncio.TimerHandle | None = None
        self._is_shut = False

    # -- the connection ----------------------------------------------------------------------

    @property
    def link(self) -> Attached | None:
        """The connection in use."""
        return self._link

    def attach(self, link: Attached) -> None:
        """Use this connection from now on; whoever waits is let in."""
        self._link = link
        self._attached.set()
        for opening in self._waiting.take_all():
            opening.begin(link)
        self._set_timer()

    def detach(self) -> None:
        """There is none: from now on whoever comes waits."""
        self._link = None
        self._attached.clear()

    def shut(self) -> None:
        """There will be none any more: whoever waits is told."""
        self.detach()
        self._is_shut = True
        for opening in self._waiting.take_all():
            opening.give_up()
        self._set_timer()

    # -- what is asked of it -----------------------------------------------------------------

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        """Have the shadow connect to host:port; never raises (see `ktnet.wire.flow.Dialer`).

        Without a connection, and where it breaks meanwhile, it waits for the next one; TUNNEL_DOWN
        where none comes in `ktnet.link.waiting.PATIENCE_S`.
        """
        opening = LastingOpening(self, host, port, origin, receiver)
        self.wait(opening)
        return opening

    async def ask(self, query: bytes, timeout_s: float = ANSWER_TIMEOUT_S) -> bytes:
        """Have the pod's resolver answer one DNS message, over the next connection too.

        DnsError where no answer comes in time, or `query` is none.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await self._attached.wait()
                    link = self._find_usable()
                    if link is None:
                        continue
                    try:
                        return await link.ask(query, timeout_s)
                    except TunnelError:
                        if link.closed is None:
                            raise
        except TimeoutError as error:
            raise DnsError(f"no answer through the tunnel within {timeout_s:g} s") from error

    async def round_trip(self, timeout_s: float = ANSWER_TIMEOUT_S) -> float:
        """Seconds that a byte takes to the shadow and back; TunnelError where it doesn't come."""
        if self._link is None:
            raise TunnelError("the tunnel is down")
        return await self._link.round_trip(timeout_s)

    # -- waiting -----------------------------------------------------------------------------

    def wait(self, opening: LastingOpening, *, lost: Attached | None = None) -> None:
        """Have `opening` wait for a connection other than the `lost` one."""
        link = self._find_usable()
        if self._is_shut:
            self._loop.call_soon(opening.give_up)
            return
        if link is not None and link is not lost:
            opening.begin(link)
            return
        self._waiting.enter(opening, self._loop.time())
        self._set_timer()

    def forget(self, opening: LastingOpening) -> None:
        """`opening` is wanted no more."""
        self._waiting.leave(opening)

    def _find_usable(self) -> Attached | None:
        """The connection; one that broke this moment is let go of."""
        if self._link is not None and self._link.closed is not None:
            self.detach()
        return self._link

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_s = self._waiting.next_deadline_s
        if deadline_s is not None:
            self._timer = self._loop.call_at(deadline_s, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        # A timer may come early, by the clock's resolution.
        for opening in self._waiting.take_impatient(self._loop.time() + 0.01):
            opening.give_up()
        self._set_timer()


class LastingOpening:
    """A flow that is being opened, on one connection after the other (an `Opening`)."""

    def __init__(
        self,
        dialer: LastingDialer,
        host: str,
        port: int,
        origin: tuple[str, int],
        receiver: Receiver,
    ) -> None:
        self._dialer = dialer
        self._target = (host, port, origin)
        self._receiver = receiver
        self._link: Attached | None = None
        self._opening: Opening | None = None
        self._is_over = False
        # Once it is open, nothing stands between the connection and the receiver.
        self.opened = receiver.opened
        self.data_received = receiver.data_received
        self.eof_received = receiver.eof_received
        self.closed = receiver.closed
        self.pause_writing = receiver.pause_writing
        self.resume_writing = receiver.resume_writing

    def cancel(self) -> None:
        """Give up: the receiver hears nothing more."""
        self._is_over = True
        self._dialer.forget(self)
        if self._opening is not None:
            self._opening.cancel()

    def begin(self, link: Attached) -> None:
        """Open it on this connection."""
        self._link = link
        self._opening = link.open_tcp(*self._target, self)

    def give_up(self) -> None:
        """No connection came in time."""
        if not self._is_over:
            self._is_over = True
            self._receiver.open_failed(OpenFailure.TUNNEL_DOWN)

    def open_failed(self, failure: OpenFailure) -> None:
        """The far side could not connect, or the connection broke meanwhile."""
        self._opening = None
        if self._is_over:
            return
        if failure is OpenFailure.TUNNEL_DOWN:
            self._dialer.wait(self, lost=self._link)
        else:
            self._is_over = True
            self._receiver.open_failed(failure)
