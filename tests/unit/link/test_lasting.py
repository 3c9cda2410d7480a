"""A dialer that outlives its connections: with real ones, which are cut."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tunnel_ends import (
    ORIGIN,
    Cable,
    Recorder,
    echo,
    open_flow,
    open_shadow,
    open_target,
    run,
    until,
)

from ktnet.errors import DnsError
from ktnet.link.lasting import LastingDialer
from ktnet.wire.flow import OpenFailure

QUERY = bytes.fromhex("123401000001000000000000") + b"\1x\7invalid\0\0\1\0\1"
REFUSED = 5
RECONNECTS = 1000 if "KTNET_SOAK" in os.environ else 200


@asynccontextmanager
async def open_scene(**options):
    """A dialer without a connection, a shadow behind a cable, and a target that echoes."""
    async with (
        open_shadow(**options) as ends,
        Cable(ends.port).laid() as cable,
        open_target(echo) as port,
    ):
        yield LastingDialer(), ends, cable, port


def test_who_comes_early_is_let_in_when_there_is_a_connection():
    async def scenario():
        async with open_scene() as (dialer, ends, cable, port):
            early = [open_flow(dialer, port) for _ in range(5)]
            await asyncio.sleep(0.05)
            assert all(receiver.flow is None for receiver in early)
            async with ends.attach(cable.dial) as link:
                dialer.attach(link)
                for receiver in (*early, open_flow(dialer, port)):
                    (await receiver.until_open()).write(b"x")
                    await receiver.until(lambda r: r.received == 1)

    run(scenario())


def test_nobody_waits_for_ever():
    async def scenario():
        dialer = LastingDialer(patience_s=0.05)
        for _ in range(2):
            receiver = open_flow(dialer, 1)
            assert await receiver.until_failed() is OpenFailure.TUNNEL_DOWN
        with pytest.raises(DnsError, match="within"):
            await dialer.ask(QUERY, 0.05)

    run(scenario())


def test_what_is_open_is_reset_and_what_was_being_opened_opens_on_the_next():
    async def scenario():
        async with open_scene() as (dialer, ends, cable, port):
            async with ends.attach(cable.dial) as link:
                dialer.attach(link)
                open_before = open_flow(dialer, port)
                await open_before.until_open()
                cable.stop()
                caught = open_flow(dialer, port)
                asking = asyncio.ensure_future(dialer.ask(QUERY, 5))
                await asyncio.sleep(0.05)
                cable.cut()
                await link.wait_closed()
                assert await open_before.until_closed() == "reset"
                late = open_flow(dialer, port)
                await asyncio.sleep(0.05)
                assert caught.flow is late.flow is None
                assert caught.failure is late.failure is None
            async with ends.attach() as link:
                dialer.attach(link)
                for receiver in (caught, late):
                    (await receiver.until_open()).write(b"x")
                    await receiver.until(lambda r: r.received == 1)
                assert (await asking)[3] & 15 != REFUSED

    run(scenario())


def test_who_gave_up_hears_nothing():
    async def scenario():
        async with open_scene() as (dialer, ends, cable, port):
            receiver = Recorder()
            dialer.open_tcp("127.0.0.1", port, ORIGIN, receiver).cancel()
            async with ends.attach(cable.dial) as link:
                dialer.attach(link)
                await open_flow(dialer, port).until_open()
                assert receiver.flow is receiver.failure is None

    run(scenario())


def test_a_target_that_refuses_is_no_reason_to_wait():
    async def scenario():
        async with open_scene() as (dialer, ends, cable, _):
            async with open_target(echo) as closed_port:
                pass
            async with ends.attach(cable.dial) as link:
                dialer.attach(link)
                receiver = open_flow(dialer, closed_port)
                assert await receiver.until_failed() is OpenFailure.REFUSED

    run(scenario())


def test_a_new_connection_takes_over_from_one_that_still_lives():
    """As when a pod is drained: its flows go on, new ones go elsewhere."""

    async def scenario():
        async with (
            open_scene() as (dialer, ends, cable, port),
            ends.attach(cable.dial) as old,
            ends.attach() as new,
        ):
            dialer.attach(old)
            before = open_flow(dialer, port)
            await before.until_open()
            dialer.detach()
            between = open_flow(dialer, port)
            dialer.attach(new)
            after = open_flow(dialer, port)
            for receiver in (before, between, after):
                (await receiver.until_open()).write(b"x")
                await receiver.until(lambda r: r.received == 1)
            cable.cut()
            assert await before.until_closed() == "reset"
            assert between.end is after.end is None

    run(scenario())


def test_after_the_end_nobody_waits():
    async def scenario():
        dialer = LastingDialer()
        early = open_flow(dialer, 1)
        dialer.shut()
        late = open_flow(dialer, 1)
        assert late.failure is None
        for receiver in (early, late):
            assert await receiver.until_failed() is OpenFailure.TUNNEL_DOWN

    run(scenario())


@pytest.mark.timeout(600)
def test_reconnects_leave_nothing():
    """Neither memory, descriptors, tasks, nor flows, channels and clients at the shadow."""

    async def round_trip(dialer, ends, cable, port):
        async with ends.attach(cable.dial) as link:
            dialer.attach(link)
            receivers = [open_flow(dialer, port) for _ in range(3)]
            for receiver in receivers:
                await receiver.until_open()
            await dialer.round_trip()
            cable.cut()
            await link.wait_closed()
            dialer.detach()
            for receiver in receivers:
                assert await receiver.until_closed() == "reset"

    async def scenario():
        async with open_scene() as (dialer, ends, cable, port):
            counts = []
            windows = ends.shadow.windows.take()
            ends.shadow.windows.give_back(windows)
            for number in range(RECONNECTS):
                await round_trip(dialer, ends, cable, port)
                if number in {RECONNECTS // 4, RECONNECTS - 1}:
                    await until(lambda: not ends.shadow.connections)
                    counts.append(count_everything())
                    assert ends.shadow.flows == set()
                    assert ends.shadow.attendance.attached == 0
                    assert ends.shadow.windows.take() == windows
                    ends.shadow.windows.give_back(windows)
            (tasks, descriptors, objects, resident), later = counts
            assert later[:2] == (tasks, descriptors)
            assert later[2] < objects * 1.02 + 100
            assert later[3] - resident < 10e6

    run(scenario(), 600)


def count_everything():
    """Tasks, descriptors, objects that the collector knows, bytes at the highest."""
    gc.collect()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return len(asyncio.all_tasks()), descriptors, len(gc.get_objects()), resident
