"""A laptop that was away for so long that others took it for gone, and comes back."""

import asyncio

import pytest
from member_scene import (
    SELECTOR,
    add_service,
    assert_routed,
    build_plan,
    leave_pods_out,
    read_state,
    run,
    until_gone,
)

from ktnet.cluster.mesh.router_manifests import build_member_lease
from ktnet.errors import Conflict
from ktnet.session.absence import Absence
from ktnet.session.cluster import Cluster
from ktnet.session.mesh_auto import MeshAutoSession
from ktnet.session.mesh_member import TakenOut
from ktnet.tasks import open_tasks
from ktnet.wire.meshrecord import (
    ANNOTATION,
    Member,
    MeshRecord,
    build_record_text,
    build_selector,
    parse_record,
)
from ktnet.wire.record import ANNOTATION as EXCHANGED
from ktnet.wire.record import Record
from ktnet.wire.record import build_record_text as build_exchange_text


@pytest.fixture(autouse=True)
def without_pods(monkeypatch):
    leave_pods_out(monkeypatch)


class Notes:
    """What a user is told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def waiting(self, text):
        pass


class Clock:
    """Of a machine that can be made to sleep."""

    now_s = 0.0

    def __call__(self):
        return self.now_s


def change(cluster, annotations, selector):
    """The Service, in one step; and the router that it had goes."""
    found = cluster.store.get("services", "demo", "tomcat")
    _, record = parse_record(found)
    found["metadata"]["annotations"] = annotations
    found["spec"]["selector"] = selector
    cluster.store.update("services", "demo", "tomcat", found)
    cluster.store.delete("deployments", "demo", record.router)


def put_back(cluster):
    """As the router does, when nobody has been there for `--idle`."""
    change(cluster, {}, SELECTOR)


def take_mark(cluster):
    """Bob has made a new router since, and the mark is his."""
    bob = Member("theirs", "bob@desk", "2026-11-24T15:00:00Z", "version", "ada")
    record = MeshRecord("tomcat-router-other", tuple(SELECTOR.items()), (bob,))
    lease = build_member_lease("theirs", "demo", record.router, bob.holder, cluster.api.now(), 60)
    cluster.store.create("leases", "demo", lease)
    change(cluster, {ANNOTATION: build_record_text(record)}, build_selector(record.router))


def exchange(cluster):
    """Bob has exchanged it since."""
    selector = tuple(sorted(SELECTOR.items()))
    record = Record("theirs", "bob@desk", "2026-11-24T15:00:00Z", "selector", selector=selector)
    change(cluster, {EXCHANGED: build_exchange_text(record)}, {"app": "shadow"})


async def wait_until(condition):
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


def start(cluster, service, tasks, notes, clock):
    session = MeshAutoSession(Cluster(cluster.api, "demo"), build_plan(service, "ada"), notes)
    session._member.absence = Absence(60, clock)
    return session, tasks.create_task(session.run())


def test_who_was_away_joins_again_and_leaves_nothing():
    async def scenario(cluster):
        service = add_service(cluster)
        before, clock, notes = read_state(cluster), Clock(), Notes()
        async with open_tasks() as tasks:
            session, running = start(cluster, service, tasks, notes, clock)
            await session.wait_joined()
            first = session._member
            assert_routed(cluster, first)
            clock.now_s = 3600
            put_back(cluster)
            await wait_until(lambda: session._member is not first and session._joined.is_set())
            assert session._member.name == first.name
            assert session._member.router.name != first.router.name
            assert_routed(cluster, session._member)
            away, again = notes.notes
            assert "while this machine was away" in away
            assert again == "requests to service/tomcat with `version: ada` come here again"
            await session.end(running)
            assert session.describe_end().startswith("nothing of this session is left")
        await until_gone(cluster, before)

    run(scenario)


def test_who_was_there_and_was_taken_out_is_told_so():
    async def scenario(cluster):
        service = add_service(cluster)
        before = read_state(cluster)
        async with open_tasks() as tasks:
            session, running = start(cluster, service, tasks, Notes(), Clock())
            await session.wait_joined()
            put_back(cluster)
            with pytest.raises(TakenOut):
                await session.watch()
            await session.end(running)
        await until_gone(cluster, before)

    run(scenario)


@pytest.mark.parametrize(
    ("change", "said"),
    [(take_mark, "the mark version: ada is bob@desk's"), (exchange, "tomcat is exchanged")],
)
def test_what_others_have_made_of_it_meanwhile_is_theirs(change, said):
    async def scenario(cluster):
        service, clock = add_service(cluster), Clock()
        async with open_tasks() as tasks:
            session, running = start(cluster, service, tasks, Notes(), clock)
            await session.wait_joined()
            clock.now_s = 3600
            change(cluster)
            theirs = cluster.store.get("services", "demo", "tomcat")
            with pytest.raises(Conflict, match=said):
                await session.watch()
            await session.end(running)
            assert cluster.store.get("services", "demo", "tomcat") == theirs

    run(scenario)


def test_an_absence_is_recent_for_as_long_as_it_takes_to_hear_what_became_of_it():
    clock = Clock()
    absence = Absence(60, clock)
    for _ in range(10):
        clock.now_s += 15
        absence.note_renewal()
        assert not absence.is_recent
    clock.now_s += 61
    assert absence.is_recent
    absence.note_renewal()
    clock.now_s += 15
    absence.note_renewal()
    assert absence.is_recent
    clock.now_s += 16
    absence.note_renewal()
    assert not absence.is_recent
