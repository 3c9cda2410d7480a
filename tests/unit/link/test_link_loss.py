"""A tunnel that breaks: noticed, told to everybody, and never with a hang."""

from __future__ import annotations

import asyncio
import time

import pytest
from tunnel_ends import (
    Cable,
    echo,
    open_flow,
    open_shadow,
    open_target,
    run,
    until,
)

from ktnet.errors import TunnelError
from ktnet.link.connection import KEEPALIVE_INTERVAL_S, KEEPALIVE_MOST_UNANSWERED
from ktnet.wire.flow import OpenFailure

QUERY = bytes.fromhex("123401000001000000000000") + b"\1x\7invalid\0\0\1\0\1"


def test_a_cut_connection_is_told_to_flows_openings_and_askers():
    async def scenario():
        # Nothing answers DNS on this port: the question stays open.
        async with open_target(lambda _sock: asyncio.Event().wait()) as silent_port:
            pass
        async with (
            open_shadow(servers=["127.0.0.1"], port=silent_port) as ends,
            Cable(ends.port).laid() as cable,
            ends.attach(cable.dial) as link,
            open_target(echo) as port,
        ):
            flows = [open_flow(link, port) for _ in range(20)]
            for receiver in flows:
                (await receiver.until_open()).write(b"x")
            cable.stop()
            openings = [open_flow(link, port) for _ in range(20)]
            asking = asyncio.ensure_future(link.ask(QUERY, 10))
            await asyncio.sleep(0)
            cable.cut()
            assert isinstance(await link.wait_closed(), TunnelError)
            for receiver in flows:
                assert await receiver.until_closed() == "reset"
            for receiver in openings:
                assert await receiver.until_failed() is OpenFailure.TUNNEL_DOWN
            with pytest.raises(TunnelError):
                await asking
            # And whoever comes later hears it at once, but not within the call.
            late = open_flow(link, port)
            assert late.failure is None
            assert await late.until_failed() is OpenFailure.TUNNEL_DOWN
            with pytest.raises(TunnelError):
                await link.ask(QUERY)
            with pytest.raises(TunnelError):
                await link.round_trip()
            assert link.traffic.flows_open == 0
            await until(lambda: not ends.shadow.flows and not ends.shadow.attendance.attached)

    run(scenario())


def test_a_late_opening_given_up_hears_nothing():
    async def scenario():
        async with (
            open_shadow() as ends,
            Cable(ends.port).laid() as cable,
            ends.attach(cable.dial) as link,
        ):
            cable.cut()
            await link.wait_closed()
            receiver = open_flow(link, 1)
            assert await receiver.until_failed() is OpenFailure.TUNNEL_DOWN
            silent = open_flow(link, 1)
            link.open_tcp("127.0.0.1", 1, ("127.0.0.1", 1), silent).cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert silent.failure is OpenFailure.TUNNEL_DOWN  # of the one not given up

    run(scenario())


def test_a_silent_tunnel_is_noticed(monkeypatch):
    # The real times, scaled down by 20: 4 s between questions, the third is one too many.
    monkeypatch.setattr("ktnet.link.connection.KEEPALIVE_INTERVAL_S", 0.2)

    async def scenario():
        async with (
            open_shadow() as ends,
            Cable(ends.port).laid() as cable,
            ends.attach(cable.dial) as link,
        ):
            await asyncio.sleep(1.0)
            assert link.closed is None  # questions were answered
            cable.stop()
            started = time.monotonic()
            reason = await link.wait_closed()
            assert "keepalive" in str(reason)
            assert time.monotonic() - started < 15 / 20

    run(scenario())


def test_the_promised_15_seconds_are_kept():
    assert KEEPALIVE_INTERVAL_S * (KEEPALIVE_MOST_UNANSWERED + 1) <= 15


def test_a_shadow_that_ends_says_goodbye():
    async def scenario():
        async with open_shadow() as ends, ends.attach() as link:
            receiver = open_flow(link, 1, "probe.ktnet.invalid")
            await receiver.until_open()
            await ends.shadow.drain(0.05)
            assert "closed" in str(await link.wait_closed())
            assert await receiver.until_closed() == "reset"

    run(scenario())


def test_a_draining_shadow_waits_for_flows_and_opens_no_more():
    async def scenario():
        async with open_shadow() as ends, ends.attach() as link:
            receiver = open_flow(link, 1, "probe.ktnet.invalid")
            flow = await receiver.until_open()
            draining = asyncio.ensure_future(ends.shadow.drain(10))
            await asyncio.sleep(0)
            failure = await open_flow(link, 1, "probe.ktnet.invalid").until_failed()
            assert failure is OpenFailure.SHORTAGE
            flow.write(b"last words")
            await receiver.until(lambda r: r.data == b"last words")
            assert not draining.done()
            flow.write_eof()
            assert await receiver.until_closed() == "end"
            await draining
            await link.wait_closed()

    run(scenario())


def test_openings_in_flight_when_the_client_goes_leave_nothing_in_the_shadow():
    async def scenario():
        async with (
            open_shadow() as ends,
            Cable(ends.port).laid() as cable,
            open_target(echo) as port,
        ):
            async with ends.attach(cable.dial) as link:
                for _ in range(50):
                    open_flow(link, port)
                await link.round_trip()
                for _ in range(50):
                    open_flow(link, port)
                await asyncio.sleep(0)
                cable.cut()
                await link.wait_closed()
            await until(lambda: not ends.shadow.connections and not ends.shadow.flows)
            await until(lambda: len(asyncio.all_tasks()) <= 4)
            assert ends.shadow.windows.take() == 4 << 20

    run(scenario())


def test_an_opening_that_arrives_with_the_end_leaves_nothing_in_the_shadow():
    async def scenario():
        async with open_shadow() as ends, open_target(echo) as port:
            for _ in range(20):
                async with ends.attach() as link:
                    for _ in range(5):
                        open_flow(link, port)
                    await asyncio.sleep(0)  # the requests go out, and right behind them the end
            await until(lambda: not ends.shadow.connections)
            await until(lambda: len(asyncio.all_tasks()) == 1)
            assert not ends.shadow.flows
            assert ends.shadow.windows.take() == 4 << 20

    run(scenario())


def test_cancelling_who_holds_a_link_closes_it():
    async def scenario():
        async with open_shadow() as ends:
            holding = asyncio.Event()

            async def hold():
                async with ends.attach() as link:
                    open_flow(link, 1, "probe.ktnet.invalid")
                    holding.set()
                    await asyncio.Event().wait()

            task = asyncio.ensure_future(hold())
            await holding.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not ends.shadow.connections)
            assert len(asyncio.all_tasks()) == 1

    run(scenario())


def test_links_in_a_row_leave_nothing():
    async def scenario():
        async with open_shadow() as ends:
            for _ in range(30):
                async with ends.attach() as link:
                    await link.round_trip()
            await until(lambda: not ends.shadow.connections)
            assert len(asyncio.all_tasks()) == 1

    run(scenario())
