"""A client's machine as a place where connections can go: a `forwarded-tcpip` channel each."""

from __future__ import annotations

import asyncio

import asyncssh

from ktnet.stream.carrier import Carrier
from ktnet.stream.openings import ChannelOpening, DeadOpening
from ktnet.wire.channel import Surroundings
from ktnet.wire.flow import OpenFailure, Opening, Receiver
from ktnet.wire.window import WindowBudget

PATIENCE_S = 2.5
"""A laptop answers within 2 s, whatever its application does (`ktnet.link.inbound`). One that
doesn't, and from which nothing else comes for so long, is asleep or out of reach, which SSH's
keepalive would take a minute to find. What does come, comes from one that is busy: with a thousand
callers at once, the last of them wait for longer."""


class Laptop:
    """One SSH connection of a client's, seen from the cluster."""

    def __init__(
        self,
        connection: asyncssh.SSHServerConnection,
        carrier: Carrier,
        windows: WindowBudget,
        surroundings: Surroundings,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._connection = connection
        self._carrier = carrier
        self._windows = windows
        self._surroundings = surroundings
        self._tasks = tasks
        self.is_silent = False
        """Whether it owes us an answer: until that comes nothing more is asked of it."""

    @property
    def is_gone(self) -> bool:
        """Whether the connection is over."""
        return self._connection.is_closed()

    @property
    def heard_s(self) -> float:
        """When, on the loop's clock, anything has come from it last."""
        return self._carrier.heard_s

    def abandon(self) -> None:
        """Its client has come back by another connection: end this one, and what hangs on it."""
        self._connection.abort()

    def open(self, port: LaptopPort, peer: tuple[str, int], receiver: Receiver) -> Opening:
        """Have the client connect `peer` to what it exposes as this port."""
        if self.is_silent or self.is_gone:
            return DeadOpening(receiver)
        opening = ChannelOpening(
            self._connection, self._carrier, self._windows, receiver, self._surroundings
        )
        self._tasks.create_task(self._run(opening, port, peer))
        return opening

    async def _run(self, opening: ChannelOpening, port: LaptopPort, peer: tuple[str, int]) -> None:
        overdue = _Overdue(self, opening)
        try:
            await opening.run(
                lambda channel, take: channel.accept(take, port.asked_host, port.number, *peer)
            )
        finally:
            overdue.cancel()
            self.is_silent = False


class _Overdue:
    """Gives an opening up when nothing has come for too long from the laptop that was asked."""

    def __init__(self, laptop: Laptop, opening: ChannelOpening) -> None:
        self._laptop = laptop
        self._opening = opening
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(PATIENCE_S, self._look)

    def cancel(self) -> None:
        """It has been answered."""
        self._handle.cancel()

    def _look(self) -> None:
        until_s = self._laptop.heard_s + PATIENCE_S
        if until_s > self._loop.time():
            self._handle = self._loop.call_at(until_s, self._look)
        else:
            self._laptop.is_silent = True
            self._opening.give_up(OpenFailure.TUNNEL_DOWN)


class LaptopPort:
    """A port that a client exposes (a `ktnet.shadow.destinations.Destination`)."""

    def __init__(self, laptop: Laptop, asked_host: str, number: int) -> None:
        self.laptop = laptop
        self.asked_host = asked_host
        """As the client has asked for it: it knows its listeners by that (RFC 4254 section 7.2)."""
        self.number = number

    def open(self, peer: tuple[str, int], receiver: Receiver) -> Opening:
        """A new connection."""
        return self.laptop.open(self, peer, receiver)
