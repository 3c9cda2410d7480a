"""The routes, on 127.0.0.1 alone."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from ktnet.dashboard.actions import Mender, parse_wanted
from ktnet.dashboard.feed import Feed, Looked
from ktnet.dashboard.files import read_page
from ktnet.dashboard.guard import HEADERS, Asked, Guard
from ktnet.dashboard.metrics import CONTENT_TYPE, build_metrics
from ktnet.dashboard.stream import build_event
from ktnet.errors import (
    Conflict,
    Forbidden,
    HostPermissionError,
    KtnetError,
    NotFound,
    UsageError,
)
from ktnet.tasks import open_tasks

ADDRESS = "127.0.0.1"

MOST_WATCHERS = 8
"""Pages open at once; each costs some 10 kB/s."""

MOST_REQUEST_BYTES = 4096

TOKEN_PATH = "/api/v1/token"  # noqa: S105  (where a code is given for it)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    """A dashboard that can be asked."""

    def __init__(self, feed: Feed, mender: Mender) -> None:
        self._feed = feed
        self._mender = mender
        self._built: tuple[int, bytes] = (-1, b"")
        self._page = read_page()

    def build_app(self, guard: Guard) -> web.Application:
        """All routes behind the guard."""
        app = web.Application(
            middlewares=[self._build_middleware(guard)], client_max_size=MOST_REQUEST_BYTES
        )
        for path in self._page:
            app.router.add_get(path, self._give_page)
        app.router.add_get("/api/v1/sessions", self._give_sessions)
        app.router.add_get("/api/v1/flows", self._give_flows)
        app.router.add_get("/api/v1/dns", self._give_queries)
        app.router.add_get("/api/v1/events", self._give_events)
        app.router.add_get("/api/v1/cluster", self._give_cluster)
        app.router.add_get("/api/v1/stream", self._stream)
        app.router.add_post("/api/v1/recover", self._recover)
        app.router.add_post("/api/v1/clean", self._clean)
        app.router.add_get("/metrics", self._give_metrics)
        return app

    def _build_middleware(self, guard: Guard) -> Any:
        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            asked = Asked(
                request.method,
                request.headers.get("Host"),
                request.headers.get("Origin"),
                request.headers.get("Authorization"),
                request.headers.get("Sec-Fetch-Site"),
            )
            if (request.method, request.path) == ("POST", TOKEN_PATH):
                redeemed = guard.redeem(asked)
                if isinstance(redeemed, str):
                    return build_json({"token": redeemed})
                return build_error(redeemed.status, redeemed.reason)
            refusal = guard.refuse(asked, is_page=request.path in self._page)
            if refusal is not None:
                return build_error(refusal.status, refusal.reason)
            try:
                return await handler(request)
            except KtnetError as error:
                return build_json({"error": error.message, "hint": error.hint}, find_status(error))
            except web.HTTPException as error:
                return build_error(error.status, error.reason)

        return check

    async def _give_page(self, request: web.Request) -> web.Response:
        kind, body = self._page[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=HEADERS)

    async def _give_sessions(self, _: web.Request) -> web.Response:
        return build_json({"sessions": (await self._feed.look()).sessions})

    async def _give_flows(self, _: web.Request) -> web.Response:
        return build_json({"flows": (await self._feed.look()).flows})

    async def _give_queries(self, _: web.Request) -> web.Response:
        return build_json({"queries": (await self._feed.look()).queries})

    async def _give_events(self, _: web.Request) -> web.Response:
        return build_json({"events": (await self._feed.look()).events})

    async def _give_cluster(self, _: web.Request) -> web.Response:
        return build_json(await self._feed.survey())

    async def _give_metrics(self, _: web.Request) -> web.Response:
        looked = await self._feed.look()
        round_trips_s = {key: each["round_trip_s"] for key, each in looked.samples.items()}
        text = build_metrics(looked.sessions, round_trips_s)
        return web.Response(body=text, headers={**HEADERS, "Content-Type": CONTENT_TYPE})

    async def _recover(self, request: web.Request) -> web.Response:
        wanted = parse_wanted(await request.read(), has_name=True)
        return await self._mend(self._mender.recover(wanted.namespace, wanted.name))

    async def _clean(self, request: web.Request) -> web.Response:
        wanted = parse_wanted(await request.read(), has_name=False)
        return await self._mend(self._mender.clean(wanted.namespace, all_users=wanted.all_users))

    async def _mend(self, mending: Awaitable[list[str]]) -> web.Response:
        try:
            return build_json({"told": await mending})
        finally:
            self._feed.expect_change()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self._feed.watchers >= MOST_WATCHERS:
            return build_error(503, f"{MOST_WATCHERS} pages are open already")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        with suppress(ConnectionError):  # the page was closed
            await response.prepare(request)
            await self._tell(response)
        return response

    async def _tell(self, response: web.StreamResponse) -> None:
        """Until the page is closed, which raises ConnectionError."""
        await response.write(build_event("history", self._feed.list_histories()))
        told_cluster: Any = None
        async with aclosing(self._feed.watch()) as watch:
            async for looked, cluster in watch:
                await response.write(self._build_look(looked))
                if cluster is not told_cluster:
                    told_cluster = cluster
                    await response.write(build_event("cluster", cluster))

    def _build_look(self, looked: Looked) -> bytes:
        """Once for all who watch."""
        if self._built[0] != looked.number:
            told = {
                name: getattr(looked, name)
                for name in ("sessions", "samples", "flows", "queries", "events")
            }
            self._built = (looked.number, build_event("look", told))
        return self._built[1]


def build_json(value: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.json_response(value, status=status, headers=HEADERS)


def find_status(error: KtnetError) -> int:
    """HTTP's word for it."""
    kinds = ((UsageError, 400), (Forbidden, 403), (NotFound, 404), (Conflict, 409))
    return next((status for kind, status in kinds if isinstance(error, kind)), 502)


def build_error(status: int, reason: str) -> web.Response:
    """A refusal, as JSON."""
    return build_json({"error": reason}, status)


@asynccontextmanager
async def open_dashboard(
    feed: Feed, mender: Mender, token: str, port: int, code: str = ""
) -> AsyncIterator[tuple[int, Guard]]:
    """Serves until the context is left; on which port (any free one where `port` is 0), and who
    guards it. See `Guard` for `code`.

    Raises Conflict where the port is taken, HostPermissionError where it may not be used.
    """
    with open_listener(port) as listener:
        bound: int = listener.getsockname()[1]
        guard = Guard(token, bound, code)
        app = Dashboard(feed, mender).build_app(guard)
        # No access log: nothing that was asked is worth keeping, and headers hold the token.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            async with open_tasks() as tasks:
                tasks.create_task(feed.run(), name="look at the sessions")
                yield bound, guard
        finally:
            await asyncio.shield(runner.cleanup())


def open_listener(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1, and only there."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(64)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"port {port} of this machine is in use", hint="choose another with --port"
            ) from error
        raise HostPermissionError(f"port {port} can't be used: {error.strerror}") from error
    return listener
