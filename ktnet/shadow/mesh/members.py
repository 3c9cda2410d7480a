"""The laptops that are attached to this router, and what their marks lead to at this moment.

             its connection is up     nothing came for 2 s,     it has left
             and it says so           or the connection broke
fail-open    laptop                   origin                    origin
else         laptop                   refused                   origin

Whatever comes by its connection shows that a laptop is still there: one that opens a thousand
connections at once may be late with its beats. Only a beat shows that it is back: what was on its
way when it fell silent may come later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from weakref import WeakSet

from ktnet.shadow.destinations import Destination, FailOpen
from ktnet.shadow.laptop import Laptop, LaptopPort
from ktnet.shadow.log import EventLog
from ktnet.shadow.router import http1_upstream, http2_upstream
from ktnet.shadow.router.table import Table
from ktnet.stream.openings import DeadOpening
from ktnet.wire.flow import Opening, Receiver
from ktnet.wire.meshmark import BEAT_INTERVAL_S, MOST_MISSED, Registration

GONE_S = 15.0
"""A laptop that has been silent for so long won't end the requests that it has begun: they are
cut off, so that nobody waits for them."""

LEAVE_S = 5.0
"""What the requests of a laptop that leaves may still take."""

_LOOK_INTERVAL_S = 0.05

Answering = http1_upstream.Upstream | http2_upstream.Upstream


class Refused(Exception):
    """A mark that can't be had."""


class Away:
    """Where requests go that nobody but an absent laptop may answer."""

    def open(self, _peer: tuple[str, int], receiver: Receiver) -> Opening:
        """It is not there."""
        return DeadOpening(receiver)


@dataclass(eq=False)
class _Route:
    """Where a mark's requests go on one port. A new one each time when the laptop comes back: what
    clients have connected meanwhile may lead elsewhere, and isn't used for its requests."""

    destination: Destination
    connections: WeakSet[Answering] = field(default_factory=WeakSet)

    def open(self, peer: tuple[str, int], receiver: Receiver) -> Opening:
        """A new connection."""
        if isinstance(receiver, Answering):
            self.connections.add(receiver)
        return self.destination.open(peer, receiver)

    @property
    def is_busy(self) -> bool:
        """Whether requests are under way there."""
        return any(each.is_busy for each in self.connections)


class Membership:
    """One laptop by one connection."""

    def __init__(
        self,
        members: Members,
        registration: Registration,
        laptop: Laptop,
        ports: Mapping[int, LaptopPort],
    ) -> None:
        self.registration = registration
        self.laptop = laptop
        self.is_here = False
        self._members = members
        self._ports = ports
        self._heard_s = laptop.heard_s
        self._missed = 0
        self._routes: dict[int, _Route] = {}

    def arrive(self) -> None:
        """Its requests go there from now on."""
        self._missed = 0
        if self.is_here:
            return
        self.is_here = True
        self._place({number: self._lead_to(number, port) for number, port in self._ports.items()})

    def go_away(self) -> None:
        """Not there, but it may come back."""
        if self.is_here:
            self.is_here = False
            asked = [each for route in self._routes.values() for each in route.connections]
            self._place({} if self.registration.fail_open else self._refuse())
            for each in asked:
                each.fall_silent()

    def withdraw(self) -> list[_Route]:
        """Nothing of it stays; what it may still be answering."""
        self.is_here = False
        routes = list(self._routes.values())
        self._place({})
        return routes

    def miss(self) -> float:
        """A beat's time has passed; the seconds for which nothing has come."""
        if self._heard_s != self.laptop.heard_s:
            self._heard_s = self.laptop.heard_s
            self._missed = 0
        self._missed += 1
        if self._missed > MOST_MISSED:
            self.go_away()
        return self._missed * BEAT_INTERVAL_S

    def _lead_to(self, number: int, port: LaptopPort) -> _Route:
        if not self.registration.fail_open:
            return _Route(port)
        return _Route(FailOpen(port, self._members.tables[number].origin))

    def _refuse(self) -> dict[int, _Route]:
        return {number: _Route(Away()) for number in self._ports}

    def _place(self, routes: dict[int, _Route]) -> None:
        key, value = self.registration.key, self.registration.value
        for number, route in self._routes.items():
            if number not in routes:
                self._members.tables[number].remove(key, value, route)
        for number, route in routes.items():
            self._members.tables[number].add(key, value, route)
        self._routes = routes


class Members:
    """All of them."""

    def __init__(self, tables: Mapping[int, Table], log: EventLog, forget_s: float) -> None:
        """`forget_s`: so long the requests of one that is gone are refused, where it wants that."""
        self.tables = tables
        self._log = log
        self._forget_s = forget_s
        self._members: dict[tuple[str, str], Membership] = {}
        self._changed = asyncio.Event()

    @property
    def sessions(self) -> set[str]:
        """Those that are there."""
        return {each.registration.session for each in self._members.values() if each.is_here}

    async def wait_for(self, are_enough: Callable[[set[str]], bool]) -> None:
        """Until those that are there are enough."""
        while not are_enough(self.sessions):
            self._changed.clear()
            await self._changed.wait()

    def join(
        self, registration: Registration, laptop: Laptop, ports: Mapping[int, LaptopPort]
    ) -> Membership:
        """From now on the mark's requests go to this laptop. Raises Refused.

        A client that comes by another connection has lost the one before.
        """
        wanted = {number: ports[number] for number in registration.ports if number in ports}
        if len(wanted) < len(registration.ports):
            raise Refused("its ports aren't claimed")
        mark = (registration.key, registration.value)
        before = self._members.get(mark)
        if before is not None and before.registration.session != registration.session:
            if before.is_here:
                raise Refused(f"the mark is {before.registration.session}'s")
            before.withdraw()
        membership = Membership(self, registration, laptop, wanted)
        self._members[mark] = membership
        membership.arrive()
        if before is not None:
            before.withdraw()
            _end(before.laptop)
        self._changed.set()
        self._log.event("joined", session=registration.session, mark=": ".join(mark))
        return membership

    def hear(self, membership: Membership) -> None:
        """A beat."""
        if self._is_current(membership):
            membership.arrive()

    def lose(self, membership: Membership) -> None:
        """Its connection is over, though it hasn't left."""
        if not self._is_current(membership):
            return
        membership.go_away()
        if membership.registration.fail_open:
            self._forget(membership)
        self._log.event("lost", session=membership.registration.session)

    async def leave(self, membership: Membership) -> None:
        """It wants no more requests; returns when those that it has are answered."""
        if not self._is_current(membership):
            return
        self._forget(membership)
        self._log.event("left", session=membership.registration.session)
        routes = membership.withdraw()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                while True:
                    if not any(route.is_busy for route in routes):
                        return
                    await asyncio.sleep(_LOOK_INTERVAL_S)

    async def run_watch(self) -> None:
        """Notice those that say nothing any more, until cancelled.

        By turns of our own and not by the clock: where this process was stopped, nobody is late.
        """
        while True:
            await asyncio.sleep(BEAT_INTERVAL_S)
            for each in list(self._members.values()):
                silent_s = each.miss()
                if silent_s > GONE_S:
                    _end(each.laptop)
                if silent_s > self._forget_s and each.laptop.is_gone:
                    each.withdraw()
                    self._forget(each)

    def _is_current(self, membership: Membership) -> bool:
        registration = membership.registration
        return self._members.get((registration.key, registration.value)) is membership

    def _forget(self, membership: Membership) -> None:
        if self._is_current(membership):
            registration = membership.registration
            del self._members[registration.key, registration.value]


def _end(laptop: Laptop) -> None:
    if not laptop.is_gone:
        laptop.abandon()
