"""The routes, over a real socket: what is told to whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from ktnet.dashboard.feed import Feed
from ktnet.dashboard.guard import HEADERS
from ktnet.dashboard.server import MOST_WATCHERS, open_dashboard, open_listener
from ktnet.errors import Conflict

TOKEN = "a-token-that-nobody-guesses"
SESSION = {"pid": 7, "since": "2026-11-24T15:00:00Z", "state": "connected"}
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


class Sessions:
    """What one session says, which carries 1,000 bytes between any two looks."""

    def __init__(self) -> None:
        self.asked = 0

    async def read(self) -> list[dict[str, Any]]:
        self.asked += 1
        flows = {"bytes_up": 1000 * self.asked, "bytes_down": 0, "flows_open": 1}
        return [{**SESSION, "flows": flows}]


@asynccontextmanager
async def open_scene() -> AsyncIterator[tuple[Sessions, aiohttp.ClientSession]]:
    sessions = Sessions()
    async with (
        open_dashboard(Feed(sessions.read, interval_s=0.05), TOKEN, 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield sessions, client


def run(test: Callable[[Sessions, aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with asyncio.timeout(30), open_scene() as (sessions, client):
            await test(sessions, client)

    asyncio.run(inside())


async def read_events(response: aiohttp.ClientResponse, count: int) -> list[tuple[str, Any]]:
    found = []
    for _ in range(count):
        event = (await response.content.readuntil(b"\n\n")).decode()
        name, data = event.strip().split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_every_answer_bears_the_policy_also_the_refusals() -> None:
    async def test(_: Sessions, client: aiohttp.ClientSession) -> None:
        for path, headers, status in (
            ("/", {}, 200),
            ("/main.js", {}, 200),
            ("/style.css", {}, 200),
            ("/api/v1/sessions", RIGHT, 200),
            ("/api/v1/sessions", {}, 401),
            ("/nothing", RIGHT, 404),
            ("/nothing", {}, 401),  # nor is told what there is
            ("/../../etc/passwd", RIGHT, 404),
            ("/%2e%2e/%2e%2e/etc/passwd", RIGHT, 404),
            ("/", {"Host": "evil.example"}, 421),
            ("/api/v1/sessions", {**RIGHT, "Host": "evil.example"}, 421),
            ("/api/v1/sessions", {**RIGHT, "Origin": "http://evil.example"}, 403),
        ):
            async with client.get(path, headers=headers) as response:
                assert (path, response.status) == (path, status)
                assert {k: response.headers[k] for k in HEADERS} == HEADERS
                assert "Set-Cookie" not in response.headers
                assert "Access-Control-Allow-Origin" not in response.headers

    run(test)


def test_scripts_have_the_type_that_nosniff_asks_for() -> None:
    async def test(_: Sessions, client: aiohttp.ClientSession) -> None:
        async with client.get("/main.js") as response:
            assert response.content_type == "text/javascript"
        async with client.get("/") as response:
            text = await response.text()
        assert "http://" not in text
        assert "https://" not in text

    run(test)


def test_the_stream_tells_rates_and_sessions_are_asked_only_while_somebody_looks() -> None:
    async def test(sessions: Sessions, client: aiohttp.ClientSession) -> None:
        assert sessions.asked == 0
        async with client.get("/api/v1/stream", headers=RIGHT) as response:
            assert response.content_type == "text/event-stream"
            (name, history), (_, first), (_, second) = await read_events(response, 3)
        assert (name, history) == ("history", {})
        key = "7@2026-11-24T15:00:00Z"
        assert first["sessions"][0]["state"] == "connected"
        assert first["samples"][key]["up_bytes_per_s"] is None
        assert second["samples"][key]["up_bytes_per_s"] > 0
        # Who comes later sees what was.
        async with client.get("/api/v1/stream", headers=RIGHT) as response:
            ((_, history),) = await read_events(response, 1)
        assert len(history[key]) >= 2
        async with asyncio.timeout(20):
            while True:
                asked = sessions.asked
                await asyncio.sleep(0.2)
                if sessions.asked == asked:
                    return

    run(test)


def test_no_more_pages_than_can_be_served() -> None:
    async def test(_: Sessions, client: aiohttp.ClientSession) -> None:
        streams = []
        for _ in range(MOST_WATCHERS):
            stream = await client.get("/api/v1/stream", headers=RIGHT)
            await read_events(stream, 2)
            streams.append(stream)
        async with client.get("/api/v1/stream", headers=RIGHT) as response:
            assert response.status == 503
        for stream in streams:
            stream.close()

    run(test)


def test_it_ends_though_pages_are_open() -> None:
    async def inside() -> None:
        client = aiohttp.ClientSession()
        async with asyncio.timeout(20):
            async with open_dashboard(Feed(Sessions().read, interval_s=0.05), TOKEN, 0) as port:
                url = f"http://127.0.0.1:{port}/api/v1/stream"
                response = await client.get(url, headers=RIGHT)
                await read_events(response, 2)
            await client.close()

    asyncio.run(inside())


def test_a_port_in_use_is_said() -> None:
    with open_listener(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} of this machine is in use"):
            open_listener(port)
