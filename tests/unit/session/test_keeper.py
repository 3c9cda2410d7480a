"""A tunnel that is kept up, with a real SSH connection through a cable that is cut or silent."""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tunnel_ends import Cable, echo, open_flow, open_shadow, open_target, run, until

from ktnet.cluster.shadow.session import RunningPod
from ktnet.errors import Conflict, TunnelError
from ktnet.session.keeper import Keeper
from ktnet.tasks import open_tasks

RECONNECTS = 1000 if "KTNET_SOAK" in os.environ else 30
MEASURED = (RECONNECTS // 3, RECONNECTS - 1)
"""After these, to be compared: the first ones fill caches."""


class PretendedShadow:
    """What a keeper asks of the cluster's side, which always has the one pod."""

    def __init__(self, ends, cable):
        self.pod = RunningPod("pod", "uid", "", "", "")
        self.host_key = ends.host_key
        self.renewals = 0
        self.revivals = 0
        self.tell_end = None
        self._cable = cable

    def connector(self, streams):
        return self._cable.dial

    async def revive(self, on_progress):
        self.revivals += 1

    async def renew_connections(self):
        self.renewals += 1

    async def run_watch(self, on_end):
        self.tell_end = on_end
        await asyncio.Event().wait()


class Report:
    """What it said."""

    def __init__(self):
        self.lines = []

    def begin(self):
        pass

    def step(self, name, detail):
        self.lines.append(f"{name} {detail}")

    def note(self, text):
        self.lines.append(text)


@asynccontextmanager
async def open_keeper():
    """(keeper, its shadow, cable), connected and kept up."""
    async with (
        open_shadow() as ends,
        Cable(ends.port).laid() as cable,
        open_tasks() as streams,
        open_tasks() as links,
        open_tasks() as tasks,
    ):
        shadow = PretendedShadow(ends, cable)
        keeper = Keeper(shadow, ends.client_key, Report(), streams, links)
        await keeper.connect()
        tasks.create_task(keeper.run())
        await until(lambda: shadow.tell_end is not None)
        yield keeper, shadow, cable


class Served:
    """Which connections are served now, and which were."""

    def __init__(self):
        self.now = []
        self.ever = []

    async def serve(self, link):
        self.now.append(link)
        self.ever.append(link)
        try:
            await asyncio.Event().wait()
        finally:
            self.now.remove(link)


def test_each_connection_is_served_from_its_login_to_its_end():
    async def scenario():
        served = Served()
        async with open_keeper() as (keeper, _, cable), open_tasks() as tasks:
            tasks.create_task(keeper.serve_each_link(served.serve))
            for number in range(1, 4):
                await until(lambda number=number: len(served.ever) == number)
                assert served.now == [keeper.link]
                cable.cut()
                await until(lambda number=number: keeper.state.reconnects == number)
            await until(lambda: len(served.ever) == 4)
            assert len(set(served.ever)) == 4
        assert served.now == []

    run(scenario())


def test_a_pod_that_goes_is_served_until_it_is_gone():
    """Its connection has a few seconds for what is open: there are two of them then."""

    async def scenario():
        served = Served()
        async with open_keeper() as (keeper, shadow, _), open_tasks() as tasks:
            tasks.create_task(keeper.serve_each_link(served.serve))
            await until(lambda: len(served.now) == 1)
            shadow.tell_end("another", "is no news")
            shadow.tell_end("uid", "the shadow's pod is being deleted")
            await until(lambda: len(served.now) == 2)
            first, second = served.now
            assert keeper.link is second
            first.give_up("the pod is gone")
            await until(lambda: served.now == [second])
            assert keeper.state.reconnects == 1

    run(scenario())


def test_what_serving_raises_comes_out_but_for_a_connection_that_ends():
    async def scenario():
        async with open_keeper() as (keeper, _, cable):
            times = 0

            async def serve(link):
                nonlocal times
                times += 1
                if times == 1:
                    await link.wait_closed()
                    raise TunnelError("it has ended, as we know")
                raise Conflict("somebody else listens there")

            async with open_tasks() as tasks:
                serving = asyncio.ensure_future(keeper.serve_each_link(serve))
                tasks.create_task(_cut_when(lambda: times == 1, cable))
                with pytest.raises(Conflict, match="somebody else"):
                    await serving
            assert times == 2

    run(scenario())


async def _cut_when(condition, cable):
    await until(condition)
    cable.cut()


def test_a_listener_that_is_refused_while_the_connection_is_up_ends_it():
    async def scenario():
        async def serve(link):
            raise TunnelError("the shadow won't listen")

        async with open_keeper() as (keeper, _, _):
            with pytest.raises(TunnelError, match="won't listen"):
                await keeper.serve_each_link(serve)

    run(scenario())


def test_a_connection_that_broke_makes_others_doubtful_and_a_pods_end_does_not():
    async def scenario():
        async with open_keeper() as (keeper, shadow, cable):
            cable.cut()
            await until(lambda: keeper.state.reconnects == 1)
            assert (shadow.revivals, shadow.renewals) == (1, 1)
            shadow.tell_end("uid", "the shadow's pod is being deleted")
            await until(lambda: keeper.state.reconnects == 2)
            assert (shadow.revivals, shadow.renewals) == (2, 1)

    run(scenario())


def test_what_has_not_outlived_a_sleep_is_dialled_again_at_once(monkeypatch):
    monkeypatch.setattr("ktnet.session.keeper.ECHO_TIMEOUT_S", 0.1)

    async def scenario():
        async with open_keeper() as (keeper, _, cable):
            link = keeper.link
            await keeper._woke_up(17.4)
            assert keeper.link is link
            assert link.closed is None
            cable.stop()
            await keeper._woke_up(17.4)
            assert link.closed is not None
            cable.go_on()
            await until(lambda: keeper.state.reconnects == 1)
            assert keeper.state.reason == "the tunnel has not outlived 17 s of sleep"
            await keeper.link.round_trip()

    run(scenario())


@pytest.mark.timeout(1200)
def test_many_reconnects_leave_nothing(monkeypatch):
    """With a flow open each time, at both ends: they are in this process."""
    monkeypatch.setattr("ktnet.link.backoff.FIRST_S", 0.0)

    async def scenario():
        served = 0
        counts = []

        async def serve(link):
            nonlocal served
            served += 1
            await asyncio.Event().wait()

        async with (
            open_target(echo) as port,
            open_keeper() as (keeper, _, cable),
            open_tasks() as tasks,
        ):
            tasks.create_task(keeper.serve_each_link(serve))
            for number in range(RECONNECTS):
                flow = open_flow(keeper.dialer, port)
                (await flow.until_open()).write(b"x")
                await flow.until(lambda r: r.received == 1)
                cable.cut()
                assert await flow.until_closed() == "reset"
                await until(lambda number=number: keeper.state.reconnects == number + 1)
                if number in MEASURED:
                    await until(lambda number=number: served == number + 2)
                    counts.append(await count_when_settled(cable))
        (tasks, descriptors, objects), later = counts
        assert later[:2] == (tasks, descriptors)
        # What is counted grows by far more than that with each connection that is not let go.
        assert later[2] - objects < 5 * (MEASURED[1] - MEASURED[0])
        print(f"tasks, descriptors, objects: {counts}")

    run(scenario(), 1200)


async def count_when_settled(cable):
    """Tasks, descriptors, and objects that the collector knows."""
    await until(lambda: cable.count_relays() == 1)
    gc.collect()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return len(asyncio.all_tasks()), descriptors, len(gc.get_objects())
