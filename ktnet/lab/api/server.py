"""The API server itself: TLS, who may do what, and which part answers."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from ktnet.lab.api.authentication import User, authenticate
from ktnet.lab.api.authorization import Authorizer, allow_by_group, build_denial
from ktnet.lab.api.body import MOST_BODY_BYTES, parse_object, too_large
from ktnet.lab.api.discovery import (
    AGGREGATED,
    HEALTH_PATHS,
    build_aggregated,
    build_document,
    build_etag,
    wants_aggregated,
)
from ktnet.lab.api.errors import ApiError, Obj, forbidden, unknown_resource, wrong_method
from ktnet.lab.api.podpaths import PodPaths
from ktnet.lab.api.query import parse_bool
from ktnet.lab.api.requestlog import Request, RequestLog
from ktnet.lab.api.resources import find_in_group, list_group
from ktnet.lab.api.rest import Rest, encode, respond, respond_error
from ktnet.lab.api.review import review_access
from ktnet.lab.api.runtime import PodRuntime
from ktnet.lab.api.store import Store
from ktnet.lab.api.target import Target, parse_target
from ktnet.lab.api.tls import Certificates

log = logging.getLogger(__name__)

POD_PATHS = frozenset({"log", "exec", "portforward"})
CONNECTS = frozenset({"exec", "portforward"})
"""Subresources that a WebSocket's GET uses, but that take the right to create as well."""

SHUTDOWN_S = 0.1
"""How long requests that still run may take when the server ends; watches never end before."""


@dataclass
class ApiServer:
    """A running API server."""

    address: str
    port: int
    certificates: Certificates
    requests: RequestLog = field(default_factory=RequestLog)

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"


@asynccontextmanager
async def open_api_server(
    store: Store,
    runtime: PodRuntime,
    *,
    address: str,
    port: int,
    certificates: Certificates,
    tokens: Mapping[str, User],
    authorize: Authorizer = allow_by_group,
) -> AsyncIterator[ApiServer]:
    """Serves until the block is left; port 0 takes any free one.

    `tokens` is looked into at each request: it may be changed meanwhile. Raises OSError where the
    address can't be bound.
    """
    server = ApiServer(address, port, certificates)
    try:
        async with asyncio.TaskGroup() as sessions:
            dispatcher = Dispatcher(store, runtime, sessions, server, tokens, authorize)
            async with _listen(dispatcher, server):
                yield server
    except BaseExceptionGroup as group:
        # Sessions keep their exceptions to themselves: there is but the block's own in it.
        raise group.exceptions[0] from None


@asynccontextmanager
async def _listen(dispatcher: Dispatcher, server: ApiServer) -> AsyncIterator[None]:
    # A handler whose client is gone is cancelled: else watches would live on for an hour.
    web_server = web.Server(dispatcher.handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(web_server, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        context = server.certificates.build_server_context()
        await web.TCPSite(runner, server.address, server.port, ssl_context=context).start()
        server.port = runner.addresses[0][1]
        yield
    finally:
        dispatcher.end_sessions()
        await runner.cleanup()


class Dispatcher:
    """Takes each request to the part that answers it."""

    def __init__(
        self,
        store: Store,
        runtime: PodRuntime,
        sessions: asyncio.TaskGroup,
        server: ApiServer,
        tokens: Mapping[str, User],
        authorize: Authorizer,
    ) -> None:
        self._server = server
        self._tokens = tokens
        self._authorize = authorize
        self._rest = Rest(store)
        self._pods = PodPaths(store, runtime, sessions)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers whatever comes; never raises for what a client sends."""
        entry = Request(
            request.method,
            request.path,
            request.query_string,
            "",
            request.headers.get("User-Agent", ""),
            request.headers.get("Content-Type", ""),
        )
        self._server.requests.add(entry)
        try:
            response = await self._answer(request, entry)
        except ApiError as error:
            response = respond_error(error)
        except ConnectionError:
            # The client is gone in the middle of an answer.
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            response = respond_error(
                ApiError(500, "InternalError", f"Internal error occurred: {error!r}")
            )
        entry.status = response.status
        if not response.prepared:
            response.headers.setdefault("Audit-Id", str(uuid.uuid4()))
            response.headers.setdefault("Cache-Control", "no-cache, private")
        return response

    def end_sessions(self) -> None:
        """Ends what still streams from pods."""
        self._pods.end()

    async def _answer(self, request: web.BaseRequest, entry: Request) -> web.StreamResponse:
        user = authenticate(
            self._tokens,
            request.headers.get("Authorization", ""),
            request.headers.get("Sec-WebSocket-Protocol", ""),
        )
        entry.user = user.name
        target = parse_target(
            request.method, request.path, watch=parse_bool(request.query.get("watch", ""))
        )
        self._check_rights(user, target)
        if not target.resource:
            return self._answer_path(request, target)
        if not list_group(target.group, target.version):
            return not_found_page()
        resource = find_in_group(target.group, target.version, target.resource)
        if resource is None:
            raise unknown_resource()
        if target.subresource and resource.subresource(target.subresource) is None:
            raise unknown_resource()
        if target.resource == "pods" and target.subresource in POD_PATHS:
            if target.subresource in CONNECTS and target.verb == "get":
                self._check_connect(user, target)
            return await self._pods.answer(request, target)
        body = await read_body(request)
        if not resource.stored:
            if target.verb != "create":
                raise wrong_method()
            review = parse_object(resource, request.headers.get("Content-Type", ""), body)
            return respond(review_access(review, user, self._authorize), 201)
        return await self._rest.answer(request, target, resource, body)

    def _check_rights(self, user: User, target: Target) -> None:
        wanted = target.attributes()
        if not self._authorize(user, wanted):
            raise build_denial(user, wanted)

    def _check_connect(self, user: User, target: Target) -> None:
        """A GET that connects needs the right to create too; the refusal gives no reason."""
        wanted = replace(target.attributes(), verb="create")
        if not self._authorize(user, wanted):
            raise forbidden(target.group, target.resource, target.name, "")

    def _answer_path(self, request: web.BaseRequest, target: Target) -> web.Response:
        health = next((path for path in HEALTH_PATHS if target.path.startswith(path)), None)
        if health is None and build_document(target.path, "") is None:
            return not_found_page()
        if target.method != "GET":
            raise wrong_method()
        if health is not None:
            verbose = "verbose" in request.query
            text = f"[+]ping ok\n{health[1:]} check passed\n" if verbose else "ok"
            return web.Response(text=text, headers={"X-Content-Type-Options": "nosniff"})
        if wants_aggregated(request.headers.get("Accept", "")):
            document = build_aggregated(target.path)
            if document is not None:
                return _respond_aggregated(request, document)
        return respond(build_document(target.path, request.host) or {})


def not_found_page() -> web.Response:
    """What Go's HTTP server says of a path that nobody serves."""
    return web.Response(
        text="404 page not found\n", status=404, headers={"X-Content-Type-Options": "nosniff"}
    )


def _respond_aggregated(request: web.BaseRequest, document: Obj) -> web.Response:
    headers = {"Etag": build_etag(document), "Vary": "Accept"}
    if request.headers.get("If-None-Match") == headers["Etag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=encode(document), headers={**headers, "Content-Type": AGGREGATED})


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body; raises ApiError 413."""
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise too_large()
        parts.append(part)
    return b"".join(parts)
