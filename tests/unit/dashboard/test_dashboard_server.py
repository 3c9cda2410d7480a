"""The routes, over a real socket: what is told to whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from ktnet.dashboard.feed import Feed
from ktnet.dashboard.guard import HEADERS
from ktnet.dashboard.naming import Connection
from ktnet.dashboard.server import MOST_WATCHERS, open_dashboard, open_listener
from ktnet.errors import ClusterUnreachable, Conflict

TOKEN = "a-token-that-nobody-guesses"
CODE = "a-code-that-is-good-once"
Json = dict[str, Any]
HOSTILE = "<img src=x onerror=alert(1)>"
FLOW = {
    "source": ["10.1.1.1", 40000],
    "destination": ["10.96.0.20", 80],
    "state": "open",
    "age_s": 1.5,
    "bytes_up": 10,
    "bytes_down": 20,
}
SESSION = {"pid": 7, "since": "2026-11-24T15:00:00Z", "state": "connected"}
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


class Sessions:
    """What one session says, which carries 1,000 bytes between any two looks, and a cluster."""

    def __init__(self) -> None:
        self.asked = 0
        self.surveyed = 0
        self.mended: list[tuple[str, ...]] = []
        self.cluster_error = ""

    async def read_sessions(self, after: Callable[[Json], int]) -> list[tuple[Json, Json]]:
        self.asked += 1
        counts = {"bytes_up": 1000 * self.asked, "bytes_down": 0, "flows_open": 1}
        counts |= {"flows_total": 5, "flows_failed": 0}
        status = {**SESSION, "flows": counts, "tunnel": {"reconnects": 2}}
        event = {"number": 1, "at_s": 1.0, "kind": "step", "text": "tunnel: up"}
        return [
            (
                status,
                {
                    "round_trip_s": 0.25,
                    "flows": [FLOW],
                    "queries": [{"at_s": 1.0, "name": HOSTILE}],
                    "events": [event] if after(status) < 1 else [],
                },
            )
        ]

    async def name_processes(self, connections: list[Connection]) -> dict[Connection, str]:
        return dict.fromkeys(connections, "curl (12)")

    async def read_cluster(self) -> Json:
        self.surveyed += 1
        if self.cluster_error:
            raise ClusterUnreachable(self.cluster_error)
        service = {"namespace": "demo", "name": "web", "addresses": ["10.96.0.20"]}
        return {"services": [service], "sessions": []}

    async def recover(self, namespace: str, name: str) -> list[str]:
        if name == "deployment/held":
            raise Conflict("deployment/held is held by bob@desk")
        self.mended.append(("recover", namespace, name))
        return [f"{name} is back"]

    async def clean(self, namespace: str, *, all_users: bool) -> list[str]:
        self.mended.append(("clean", namespace, str(all_users)))
        return []


@asynccontextmanager
async def open_scene() -> AsyncIterator[tuple[Sessions, aiohttp.ClientSession]]:
    sessions = Sessions()
    async with (
        open_dashboard(Feed(sessions, interval_s=0.05), sessions, TOKEN, 0, CODE) as (port, _),
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
            (name, history), *rest = await read_events(response, 4)
        first, second = (value for name, value in rest if name == "look")
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
        client, sessions = aiohttp.ClientSession(), Sessions()
        async with asyncio.timeout(20):
            feed = Feed(sessions, interval_s=0.05)
            async with open_dashboard(feed, sessions, TOKEN, 0) as (port, _):
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


def test_what_there_is_as_json() -> None:
    async def test(_: Sessions, client: aiohttp.ClientSession) -> None:
        async def read(path: str) -> Json:
            async with client.get(f"/api/v1/{path}", headers=RIGHT) as response:
                assert response.status == 200
                return dict(await response.json())

        assert (await read("cluster"))["services"][0]["name"] == "web"
        await asyncio.sleep(0.06)  # so that the next look is one that knows the cluster
        key = "7@2026-11-24T15:00:00Z"
        names = {"session": key, "service": "web.demo", "process": "curl (12)"}
        assert (await read("flows"))["flows"] == [{**FLOW, **names}]
        assert (await read("dns"))["queries"] == [{"at_s": 1.0, "name": HOSTILE, "session": key}]
        (event,) = (await read("events"))["events"]
        assert (event["of"], event["text"]) == ("session (7)", "tunnel: up")
        assert (await read("sessions"))["sessions"][0]["key"] == key

    run(test)


def test_metrics_are_such_that_prometheus_reads_them() -> None:
    async def test(_: Sessions, client: aiohttp.ClientSession) -> None:
        async with client.get("/metrics") as response:
            assert response.status == 401
        async with client.get("/metrics", headers=RIGHT) as response:
            assert response.content_type == "text/plain"
            families = {each.name: each for each in parse(await response.text())}
        (up,) = families["ktnet_session_up"].samples
        assert (up.labels["pid"], up.value) == ("7", 1.0)
        (reconnects,) = families["ktnet_session_tunnel_reconnects"].samples
        assert (reconnects.name, reconnects.value) == ("ktnet_session_tunnel_reconnects_total", 2.0)
        assert families["ktnet_session_round_trip_seconds"].samples[0].value == 0.25
        carried = {s.labels["direction"]: s.value for s in families["ktnet_session_bytes"].samples}
        assert carried.keys() == {"up", "down"}
        assert carried["up"] >= 1000

    run(test)


def test_recover_asks_for_token_origin_and_a_request_that_is_one() -> None:
    async def test(sessions: Sessions, client: aiohttp.ClientSession) -> None:
        origin = str(client._base_url).rstrip("/")
        wanted = {"namespace": "demo", "name": "deployment/web"}
        good = {**RIGHT, "Origin": origin}

        async def post(path: str, body: Any, headers: dict[str, str]) -> tuple[int, Json]:
            async with client.post(f"/api/v1/{path}", json=body, headers=headers) as response:
                return response.status, await response.json()

        for headers, status in (
            ({}, 401),
            ({"Origin": origin}, 401),
            (RIGHT, 403),
            ({**RIGHT, "Origin": "http://evil.example"}, 403),
            ({**RIGHT, "Origin": "null"}, 403),
            ({**good, "Sec-Fetch-Site": "cross-site"}, 403),
            ({**good, "Host": "evil.example"}, 421),
        ):
            assert (await post("recover", wanted, headers))[0] == status
            assert (await post("clean", {"namespace": "demo", "all_users": True}, headers))[0] == (
                status
            )
        for body in ([], None, "x", {}, {"namespace": "demo"}, {**wanted, "force": True}):
            assert (await post("recover", body, good))[0] == 400
        for name in ("", 7, None, ["deployment/web"]):
            assert (await post("recover", {**wanted, "name": name}, good))[0] == 400
        assert (await post("clean", {"namespace": "demo", "all_users": 1}, good))[0] == 400
        assert (await post("recover", {**wanted, "name": "x" * 5000}, good))[0] == 413
        async with client.get("/api/v1/recover", headers=RIGHT) as response:
            assert response.status == 405
        assert sessions.mended == []

        held = await post("recover", {**wanted, "name": "deployment/held"}, good)
        assert held[0] == 409
        assert "held by bob@desk" in held[1]["error"]
        assert await post("recover", wanted, good) == (200, {"told": ["deployment/web is back"]})
        assert (await post("clean", {"namespace": "demo", "all_users": True}, good))[0] == 200
        assert sessions.mended == [
            ("recover", "demo", "deployment/web"),
            ("clean", "demo", "True"),
        ]

    run(test)


def test_the_page_gets_the_token_for_the_code() -> None:
    async def test(_: Sessions, client: aiohttp.ClientSession) -> None:
        origin = str(client._base_url).rstrip("/")
        for headers, status in (
            ({"Authorization": f"Bearer {CODE}"}, 403),
            ({"Authorization": f"Bearer {CODE}", "Origin": "http://evil.example"}, 403),
            ({"Authorization": "Bearer wrong", "Origin": origin}, 401),
            ({"Authorization": f"Bearer {CODE}", "Origin": origin}, 200),
            ({"Authorization": f"Bearer {CODE}", "Origin": origin}, 401),
        ):
            async with client.post("/api/v1/token", headers=headers) as response:
                assert response.status == status
                if status == 200:
                    assert await response.json() == {"token": TOKEN}
        async with client.get("/api/v1/token", headers=RIGHT) as response:
            assert response.status == 404

    run(test)


def test_a_cluster_that_does_not_answer_is_said_once_and_what_was_known_stays() -> None:
    async def inside() -> None:
        sessions = Sessions()
        feed = Feed(sessions, interval_s=0.0, cluster_interval_s=0.0)
        assert (await feed.survey())["error"] == ""
        sessions.cluster_error = "no way there"
        for _ in range(3):
            told = await feed.survey()
        assert told["error"] == "no way there"
        assert told["services"][0]["name"] == "web"
        sessions.cluster_error = ""
        await feed.survey()
        texts = [event["text"] for event in (await feed.look()).events if event["of"] == "cluster"]
        assert texts == ["answers again", "no way there"]

    asyncio.run(inside())
