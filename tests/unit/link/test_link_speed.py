"""A tunnel is measured through itself: both ends real, on loopback."""

from __future__ import annotations

import asyncio

import pytest
from tunnel_ends import Recorder, open_tunnel, run, until

from ktnet.errors import TunnelError, UsageError
from ktnet.link.fetch import build_get, measure_fetches
from ktnet.link.speed import (
    measure_download,
    measure_round_trips,
    measure_setups,
    measure_upload,
)
from ktnet.session.speed import find_slow, parse_speed_request
from ktnet.stream.speed import Sink, Source
from ktnet.wire.shadow import CHARGEN_PORT, DISCARD_PORT, PROBE_HOST, SPEED_HOST

ORIGIN = ("127.0.0.1", 0)


def test_each_direction_is_measured_and_nothing_is_left():
    async def scenario():
        async with open_tunnel() as (link, ends):
            loop = asyncio.get_running_loop()
            before, start_s = link.traffic.bytes_received, loop.time()
            speed = await measure_download(link, 0.3)
            came = link.traffic.bytes_received - before
            # What came before the first octet was seen isn't counted, nor what came after.
            assert speed * 0.3 <= came
            assert speed * (loop.time() - start_s) > 0.1 * came > 0
            sent = link.traffic.bytes_sent
            up = await measure_upload(link, 0.3)
            # All that was sent has arrived, and took at least so long.
            assert 0 < up * 0.3 <= link.traffic.bytes_sent - sent
            await until(lambda: not ends.shadow.flows)
            assert link._windows.take() == ends.shadow.windows.take() == 4 << 20

    run(scenario())


def test_round_trips_and_setups():
    async def scenario():
        async with open_tunnel() as (link, ends):
            trips = await measure_round_trips(link, lambda count: count >= 5)
            setups = await measure_setups(link, PROBE_HOST, 1, 3)
            assert (len(trips), len(setups)) == (5, 3)
            assert min(trips + setups) > 0
            await until(lambda: not ends.shadow.flows)

    run(scenario())


def test_a_tunnel_that_breaks_meanwhile_is_told_of():
    async def scenario():
        async with open_tunnel() as (link, ends):
            for measure in (measure_download, measure_upload):
                measuring = asyncio.create_task(measure(link, 30))
                await until(lambda: ends.shadow.flows)
                for flow in list(ends.shadow.flows):
                    flow.reset()
                with pytest.raises(TunnelError):
                    await measuring
                await until(lambda: not ends.shadow.flows)

    run(scenario())


def test_a_port_that_measures_nothing_is_no_name():
    async def scenario():
        async with open_tunnel() as (link, _):
            with pytest.raises(TunnelError):
                await measure_setups(link, SPEED_HOST, 80, 1)

    run(scenario())


@pytest.mark.parametrize("port", [CHARGEN_PORT, DISCARD_PORT])
def test_the_shadows_end_ends_by_itself(monkeypatch, port):
    """Whatever the client does: it neither stops nor reads."""
    ends = {CHARGEN_PORT: Source, DISCARD_PORT: Sink}
    monkeypatch.setattr("ktnet.shadow.server.build_speed_end", lambda port: ends[port](most_s=0.2))

    async def scenario():
        async with open_tunnel() as (link, ends):
            receiver = Recorder()
            receiver.keep = False
            link.open_tcp(SPEED_HOST, port, ORIGIN, receiver)
            flow = await receiver.until_open()
            flow.pause_reading()
            assert ends.shadow.flows
            await until(lambda: not ends.shadow.flows)

    run(scenario())


def test_a_source_holds_back_while_nobody_reads():
    async def scenario():
        async with open_tunnel() as (link, _):
            receiver = Recorder()
            receiver.keep = False
            link.open_tcp(SPEED_HOST, CHARGEN_PORT, ORIGIN, receiver)
            flow = await receiver.until_open()
            flow.pause_reading()
            seen = -1
            while seen != receiver.received:
                seen = receiver.received
                await asyncio.sleep(0.1)
            # A window, and what was being written when it was full.
            assert link.traffic.bytes_received < 8 << 20
            flow.reset()

    run(scenario())


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"seconds": 0},
        {"seconds": 1e9},
        {"seconds": True},
        {"seconds": 1, "target": "svc/a 80"},
        {"seconds": 1, "target": ["svc/a"]},
        {"seconds": 1, "target": ["svc/a", "80", "81"]},
        {"seconds": 1, "get": "/"},
        {"seconds": 1, "target": ["svc/a", "80"], "get": "no/slash"},
        {"seconds": 1, "target": ["svc/a", "80"], "get": "/a b"},
        {"seconds": 1, "target": ["svc/a", "80"], "get": "/a\r\nX: y"},
        {"seconds": 1, "target": ["svc/a", "80"], "get": 7},
    ],
)
def test_requests_out_of_bounds_are_refused(request_):
    with pytest.raises(UsageError):
        parse_speed_request(request_)


def test_where_it_is_slow_is_said():
    def times(median):
        return {"median": median}

    measured = {
        "api_server": {"request_ms": times(2.0)},
        "tunnel": {
            "idle_ms": times(12.0),
            "download": {"loaded_ms": times(400.0)},
            "upload": {"loaded_ms": times(13.0)},
        },
        "target": {"name": "service/db:5432", "connect_ms": 3.0},
    }
    first, second = find_slow(measured).split("; ")
    assert "between the API server and the shadow: 10.0 of 15.0 ms" in first
    assert "while a download runs" in second
    measured["target"]["connect_ms"] = 30.0
    assert "between the shadow and service/db:5432: 30.0" in find_slow(measured)
    measured["target"]["get"] = {"first_byte_ms": times(200.0)}
    assert "in service/db:5432, until it answers: 158.0 of 200.0 ms" in find_slow(measured)


def test_what_a_server_gives_is_counted():
    """One that answers by and by, one that says nothing, one that resets."""
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(200_000)

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if b"GET /silent " not in head:
            writer.write(answer)
        writer.close()

    async def scenario():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with open_tunnel() as (link, _):
            get = build_get("here", "/large")
            fetched = await measure_fetches(link, "127.0.0.1", port, get, 0.2)
            count = len(fetched.first_byte_s)
            assert count >= 1
            # The last one may have been cut off by the end of the time.
            assert (count - 1) * len(answer) <= fetched.octets <= count * len(answer)
            assert (fetched.status, min(fetched.first_byte_s) > 0) == (200, True)
            with pytest.raises(TunnelError, match="without an answer"):
                await measure_fetches(link, "127.0.0.1", port, build_get("here", "/silent"), 0.2)
        server.close()

    run(scenario())
