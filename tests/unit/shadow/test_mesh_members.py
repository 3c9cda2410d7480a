"""What marks lead to while laptops come, fall silent, return, leave and are lost."""

import asyncio

import pytest

from ktnet.shadow.destinations import FailOpen
from ktnet.shadow.log import EventLog
from ktnet.shadow.mesh import members as module
from ktnet.shadow.mesh.members import Members, Refused
from ktnet.shadow.router.table import Table
from ktnet.wire.flow import OpenFailure
from ktnet.wire.meshmark import MOST_MISSED, Registration

ALICE = [(b"version", b"alice")]


class Laptop:
    def __init__(self):
        self.is_gone = False
        self.heard_s = 0.0

    def abandon(self):
        self.is_gone = True


class Destination:
    """Of a laptop, or the origin; remembers who was sent there."""

    def __init__(self):
        self.receivers = []

    def open(self, _peer, receiver):
        self.receivers.append(receiver)


class Failures:
    def __init__(self):
        self.failures = []

    def open_failed(self, failure):
        self.failures.append(failure)


def build_members(forget_s=60.0):
    origin = Destination()
    return Members({80: Table(origin)}, EventLog("key", lambda _: None), forget_s), origin


def register(session="one", *, fail_open=True, ports=(80,)):
    return Registration(session, "version", "alice", ports, fail_open)


def silence(membership, beats=MOST_MISSED + 1):
    for _ in range(beats):
        membership.miss()


def leads_to(members):
    return members.tables[80].choose(ALICE)


def test_a_laptop_gets_its_requests_until_it_is_silent_and_again_when_it_speaks():
    async def scenario():
        members, origin = build_members()
        port = Destination()
        membership = members.join(register(), Laptop(), {80: port})
        first = leads_to(members)
        first.open(("10.0.0.1", 1), Failures())
        assert (len(port.receivers), members.sessions) == (1, {"one"})
        silence(membership, MOST_MISSED)
        assert leads_to(members) is first
        silence(membership, 1)
        assert (leads_to(members), members.sessions) == (origin, set())
        members.hear(membership)
        # What clients have connected by the first one may lead elsewhere by now.
        assert leads_to(members) not in (first, origin)
        assert members.tables[80].choose([(b"version", b"bob")]) is origin

    asyncio.run(scenario())


def test_a_laptop_that_is_late_with_its_beats_is_there_while_anything_comes_from_it():
    async def scenario():
        members, origin = build_members()
        laptop = Laptop()
        membership = members.join(register(), laptop, {80: Destination()})
        first = leads_to(members)
        for _ in range(10):
            laptop.heard_s += 1.0
            silence(membership, MOST_MISSED)
        assert leads_to(members) is first
        laptop.heard_s += 1.0
        silence(membership)
        assert leads_to(members) is origin
        # What was on its way when it fell silent doesn't bring it back: it may be stopped.
        laptop.heard_s += 1.0
        silence(membership, 1)
        assert leads_to(members) is origin
        members.hear(membership)
        assert members.sessions == {"one"}

    asyncio.run(scenario())


def test_who_wants_refusals_gets_refusals():
    async def scenario():
        members, origin = build_members()
        laptop = Laptop()
        membership = members.join(register(fail_open=False), laptop, {80: Destination()})
        silence(membership)
        failures = Failures()
        leads_to(members).open(("10.0.0.1", 1), failures)
        await asyncio.sleep(0)
        assert failures.failures == [OpenFailure.TUNNEL_DOWN]
        laptop.is_gone = True
        members.lose(membership)
        assert leads_to(members) is not origin
        await members.leave(membership)
        assert leads_to(members) is origin

    asyncio.run(scenario())


def test_a_client_that_comes_back_takes_its_own_place():
    async def scenario():
        members, origin = build_members()
        before, port = Laptop(), Destination()
        old = members.join(register(), before, {80: Destination()})
        new = members.join(register(), Laptop(), {80: port})
        assert before.is_gone
        members.lose(old)
        members.hear(old)
        leads_to(members).open(("10.0.0.1", 1), Failures())
        assert len(port.receivers) == 1
        await members.leave(old)
        assert leads_to(members) is not origin
        await members.leave(new)
        assert leads_to(members) is origin

    asyncio.run(scenario())


def test_a_mark_is_one_sessions_until_that_is_away():
    async def scenario():
        members, _ = build_members()
        first = members.join(register(), Laptop(), {80: Destination()})
        with pytest.raises(Refused, match="one's"):
            members.join(register("two"), Laptop(), {80: Destination()})
        silence(first)
        members.join(register("two"), Laptop(), {80: Destination()})
        members.hear(first)
        members.lose(first)
        assert members.sessions == {"two"}

    asyncio.run(scenario())


def test_a_port_that_was_not_claimed_is_refused():
    async def scenario():
        members, origin = build_members()
        with pytest.raises(Refused, match="claimed"):
            members.join(register(ports=(80, 81)), Laptop(), {80: Destination()})
        assert leads_to(members) is origin

    asyncio.run(scenario())


def test_the_silent_are_cut_off_and_the_lost_forgotten(monkeypatch):
    monkeypatch.setattr(module, "BEAT_INTERVAL_S", 0.01)
    monkeypatch.setattr(module, "GONE_S", 0.1)

    async def scenario():
        members, origin = build_members(forget_s=0.2)
        laptop = Laptop()
        members.join(register(fail_open=False), laptop, {80: Destination()})
        watch = asyncio.ensure_future(members.run_watch())
        async with asyncio.timeout(10):
            while not laptop.is_gone or leads_to(members) is not origin:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        watch.cancel()

    asyncio.run(scenario())


def test_fail_open_is_for_those_who_are_there():
    async def scenario():
        members, _ = build_members()
        members.join(register(), Laptop(), {80: Destination()})
        assert isinstance(leads_to(members).destination, FailOpen)

    asyncio.run(scenario())
