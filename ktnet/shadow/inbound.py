"""The ports that a client may expose: who has them, and where their callers go.

                       claimed by a client      nobody has it,        the client has left
                       that is there            the client is there   or is not there yet
    no origin given    laptop                   closed                closed
    an origin          laptop; origin while     closed                origin
                       it doesn't answer
    passed on          -                        origin                origin

"Closed" is what a caller would see of a pod whose process doesn't listen: refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import asyncssh

from ktnet.shadow.accepting import open_acceptor
from ktnet.shadow.destinations import Destination, FailOpen
from ktnet.shadow.laptop import Laptop, LaptopPort
from ktnet.shadow.log import EventLog
from ktnet.stream.accepting import Acceptor
from ktnet.stream.joining import Passage
from ktnet.stream.openings import DeadOpening
from ktnet.stream.socketflow import SocketFlow
from ktnet.wire.flow import Opening, Receiver

CLAIM_WITHIN_S = 3.0
"""For a client that has come back to claim its ports again, before they are closed."""


@dataclass(frozen=True)
class Exposable:
    """A port that may be exposed."""

    number: int
    origin: Destination | None = None
    """Who serves its callers while no client does."""
    always: bool = False
    """No client may have it: its callers go to the origin."""


class Caller(SocketFlow):
    """A connection from a client in the cluster."""

    def __init__(self, port: Port) -> None:
        super().__init__()
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        super().connection_made(transport)
        self._port.callers.add(self)
        # Not here and now: asyncio begins to read right after this call, paused or not.
        asyncio.get_running_loop().call_soon(self._join)

    def connection_lost(self, exc: Exception | None) -> None:
        """Over."""
        super().connection_lost(exc)
        self._port.forget(self)

    def abandon(self) -> None:
        """End it, and what was opened for it."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.closed(reset=True)
        self.reset()

    def _join(self) -> None:
        self.receiver = Passage(self, partial(self._port.choose().open, self.peer))


class Port:
    """One of them."""

    def __init__(
        self, exposable: Exposable, address: str, tasks: asyncio.TaskGroup, nobody: Destination
    ) -> None:
        self.number = exposable.number
        self.claimant: LaptopPort | None = None
        self.callers: set[Caller] = set()
        self.has_client = False
        """Whether a client is attached, whatever it claims."""
        self._origin = exposable.origin
        self.is_passed = exposable.always
        self._address = address
        self._tasks = tasks
        self._nobody = nobody
        self._acceptor: Acceptor | None = None
        self._gone = asyncio.Event()
        self._is_over = False

    @property
    def bound_port(self) -> int:
        """What it listens on; 0 while it doesn't."""
        return self._acceptor.port if self._acceptor is not None else 0

    @property
    def serves(self) -> bool:
        """Whether its callers get somewhere."""
        if self.claimant is not None or self.is_passed:
            return True
        return self._origin is not None and not self.has_client

    def update(self) -> None:
        """Listen, or don't, as it is wanted by now. OSError where that is not possible."""
        wanted = self.serves and not self._is_over
        if wanted and self._acceptor is None:
            self._acceptor = open_acceptor(
                self._address, self.number, partial(Caller, self), self._tasks
            )
        elif not wanted and self._acceptor is not None:
            acceptor, self._acceptor = self._acceptor, None
            acceptor.close()

    def finish(self) -> None:
        """Accept no more callers, ever; those that are there go on."""
        self._is_over = True
        if self._acceptor is not None:
            self._acceptor.finish()
            self._acceptor = None

    def forget(self, caller: Caller) -> None:
        """It has gone."""
        self.callers.discard(caller)
        self._gone.set()

    async def wait_for_callers(self) -> None:
        """Until none is left."""
        while self.callers:
            self._gone.clear()
            await self._gone.wait()

    def choose(self) -> Destination:
        """Where a caller goes now."""
        laptop: Destination = self.claimant or self._nobody
        return FailOpen(laptop, self._origin) if self._origin is not None else laptop


class Claim(asyncssh.SSHListener):
    """A port that a client has, as asyncssh knows it: closed when the client lets go of it, and
    when the client's connection is over."""

    def __init__(self, inbound: Inbound, port: LaptopPort) -> None:
        super().__init__()
        self._inbound = inbound
        self._port = port

    def get_port(self) -> int:
        """Its number."""
        return self._port.number

    def close(self) -> None:
        """Let go of it."""
        self._inbound.release(self._port)

    async def wait_closed(self) -> None:
        """It is at once."""


class Inbound:
    """All of them, and the health port, which takes connections while they are of use."""

    def __init__(
        self,
        exposables: Iterable[Exposable],
        address: str,
        health_port: int,
        tasks: asyncio.TaskGroup,
        log: EventLog,
    ) -> None:
        self._tasks = tasks
        self._log = log
        self._address = address
        self._health_port = health_port
        self._health: Acceptor | None = None
        nobody = _Nobody()
        self._ports = {each.number: Port(each, address, tasks, nobody) for each in exposables}
        self._is_draining = False

    @property
    def health_port(self) -> int:
        """What the health port listens on; 0 while it doesn't."""
        return self._health.port if self._health is not None else 0

    def start(self) -> None:
        """Listen where no client is needed for. OSError where that is not possible."""
        for port in self._ports.values():
            port.update()
        self._update_health()

    def find(self, number: int) -> Port | None:
        """The port, where it is one of those that may be exposed."""
        return self._ports.get(number)

    def claim(self, laptop: Laptop, asked_host: str, number: int) -> Claim:
        """From now on the callers of a port go to this laptop, whoever had it before.

        PermissionError where it is none that may be exposed, OSError where we can't listen there.
        """
        port = self._ports.get(number)
        if port is None or port.is_passed:
            raise PermissionError(f"port {number} was not asked for when the shadow was made")
        before, port.claimant = port.claimant, LaptopPort(laptop, asked_host, number)
        port.has_client = True
        try:
            port.update()
        except OSError:
            port.claimant = before
            raise
        if before is not None and before.laptop is not laptop:
            # Only a client that has lost a connection makes another: don't let its callers wait
            # until SSH finds that out as well.
            before.laptop.abandon()
        self._update_health()
        self._log.event("exposed", port=number)
        return Claim(self, port.claimant)

    def release(self, claimed: LaptopPort) -> None:
        """A client no longer serves it, unless another has taken it over."""
        port = self._ports[claimed.number]
        if port.claimant is claimed:
            port.claimant = None
            self._log.event("no longer exposed", port=claimed.number)
            # In a later turn it is known whether the client has left with it.
            asyncio.get_running_loop().call_soon(self._update)

    def client_arrived(self) -> None:
        """A client is there: what it doesn't serve is closed."""
        for port in self._ports.values():
            port.has_client = True
        # It is about to claim what it serves.
        asyncio.get_running_loop().call_later(CLAIM_WITHIN_S, self._update)

    def clients_left(self) -> None:
        """No client is there any more."""
        for port in self._ports.values():
            port.has_client = False
        self._update()

    async def drain(self, accept_on_s: float, end_s: float) -> None:
        """The pod is about to go. Callers come for some seconds yet, until every node knows;
        then those that are left have some time to end, and are reset."""
        if any(port.bound_port for port in self._ports.values()):
            await asyncio.sleep(accept_on_s)
        self._is_draining = True
        for port in self._ports.values():
            port.finish()
        self._update_health()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(end_s):
                for port in self._ports.values():
                    await port.wait_for_callers()
        for port in self._ports.values():
            for caller in list(port.callers):
                caller.abandon()

    def _update(self) -> None:
        for port in self._ports.values():
            try:
                port.update()
            except OSError as error:
                self._log.event("cannot listen", port=port.number, reason=error)
        self._update_health()

    def _update_health(self) -> None:
        wanted = not self._is_draining and any(port.serves for port in self._ports.values())
        if wanted and self._health is None:
            try:
                self._health = open_acceptor(self._address, self._health_port, Healthy, self._tasks)
            except OSError as error:
                self._log.event("cannot listen", port=self._health_port, reason=error)
        elif not wanted and self._health is not None:
            health, self._health = self._health, None
            health.close()


class _Nobody:
    """Where callers go whose client is away."""

    def open(self, _peer: tuple[str, int], receiver: Receiver) -> Opening:
        """It is not there."""
        return DeadOpening(receiver)


class Healthy(asyncio.Protocol):
    """That it was accepted is all there is to say."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
