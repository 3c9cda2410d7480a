"""The API server itself: TLS, who may do what, and which part answers."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from ktnet.lab.api.accounts import Accounts
from ktnet.lab.api.authentication import User, authenticate, find_token, read_certificate
from ktnet.lab.api.authorization import Authorizer, Caller
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
from ktnet.lab.api.impersonation import impersonate
from ktnet.lab.api.kindlog import KindLog
from ktnet.lab.api.metadata import Clock, utc_now
from ktnet.lab.api.podpaths import PodPaths, find_peer
from ktnet.lab.api.rbac.authorizer import Rbac
from ktnet.lab.api.rbac.defaults import build_default_roles
from ktnet.lab.api.requestlog import Request, RequestLog
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.rest import Rest, encode, respond, respond_error
from ktnet.lab.api.review import answer_review
from ktnet.lab.api.runtime import PodRuntime
from ktnet.lab.api.store import Store
from ktnet.lab.api.target import Target, parse_target
from ktnet.lab.api.tls import Certificates
from ktnet.lab.api.upgrade import end_abruptly
from ktnet.lab.api.validation import check_decodable
from ktnet.lab.faults.requests import (
    BEFORE,
    Arrival,
    ConnectionEnded,
    Refused,
    RequestFaults,
)
from ktnet.lab.faults.streams import Streams

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
    faults: RequestFaults = field(default_factory=RequestFaults)
    listener: Listener = field(init=False)

    @property
    def streams(self) -> Streams:
        """The WebSockets into pods that are open."""
        return self.listener.streams

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
    authorize: Authorizer | None = None,
    accounts: Accounts | None = None,
    faults: RequestFaults | None = None,
) -> AsyncIterator[ApiServer]:
    """Serves until the block is left; port 0 takes any free one.

    `tokens` is looked into at each request: it may be changed meanwhile. `authorize` takes the
    place of RBAC; `accounts` is given where somebody else issues tokens too. Raises OSError where
    the address can't be bound.
    """
    server = ApiServer(address, port, certificates, faults=faults or RequestFaults())
    add_default_roles(store)
    try:
        async with asyncio.TaskGroup() as sessions:
            dispatcher = Dispatcher(
                store,
                runtime,
                sessions,
                server,
                tokens,
                authorize or Rbac(store),
                accounts or Accounts(store, utc_now),
            )
            server.listener = Listener(dispatcher, server)
            await server.listener.start()
            try:
                yield server
            finally:
                await server.listener.stop()
    except BaseExceptionGroup as group:
        # Sessions keep their exceptions to themselves: there is but the block's own in it.
        raise group.exceptions[0] from None


def add_default_roles(store: Store) -> None:
    """What is missing of the roles that every cluster has, as an API server does when it starts."""
    for plural, obj in build_default_roles():
        if not store.has(plural, None, obj["metadata"]["name"]):
            store.create(plural, None, obj)


class Listener:
    """The API server's port: it can be closed and opened again while the cluster lives on."""

    def __init__(self, dispatcher: Dispatcher, server: ApiServer) -> None:
        self._dispatcher = dispatcher
        self._server = server
        self._runner: web.ServerRunner | None = None
        self._web_server: web.Server | None = None

    @property
    def streams(self) -> Streams:
        return self._dispatcher.streams

    async def start(self) -> None:
        """Listens; raises OSError where the address can't be bound."""
        if self._runner is not None:
            return
        # A handler whose client is gone is cancelled: else watches would live on for an hour.
        self._web_server = web.Server(
            self._dispatcher.handle, access_log=None, handler_cancellation=True
        )
        self._runner = web.ServerRunner(self._web_server, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        server = self._server
        context = server.certificates.build_server_context()
        site = web.TCPSite(self._runner, server.address, server.port, ssl_context=context)
        try:
            await site.start()
        except BaseException:
            await self.stop()
            raise
        server.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Every connection ends, and new ones are refused until `start`."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            self._dispatcher.end_sessions()
            await runner.cleanup()

    def drop_connections(self) -> None:
        """A fault: they end as those of a server that was killed, by FIN and without a word."""
        for connection in self._web_server.connections if self._web_server is not None else ():
            if connection.transport is not None:
                end_abruptly(connection.transport, reset=False)


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
        accounts: Accounts,
        clock: Clock = utc_now,
    ) -> None:
        self._server = server
        self._tokens = tokens
        self._authorize = authorize
        self._accounts = accounts
        self._clock = clock
        self._rbac = Rbac(store)
        self._catalog = store.catalog
        self._kinds = KindLog()
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
        arrival = Arrival(request.method, request.path, entry.user_agent, find_peer(request))
        fault = self._server.faults.count(arrival)
        try:
            if fault is not None and (fault.moment == BEFORE or commits_nothing(request)):
                self._server.faults.happen(fault, arrival)
            response = await self._answer(request, entry)
            if fault is not None:
                self._server.faults.happen(fault, arrival)
        except ApiError as error:
            response = respond_error(error)
        except Refused as refused:
            response = respond_error(ApiError(refused.status, "InternalError", str(refused)))
        except ConnectionEnded:
            if request.transport is not None:
                end_abruptly(request.transport, reset=True)
            return web.Response()
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

    @property
    def streams(self) -> Streams:
        return self._pods.streams

    def end_sessions(self) -> None:
        """Ends what still streams from pods."""
        self._pods.end()

    async def _answer(self, request: web.BaseRequest, entry: Request) -> web.StreamResponse:
        target = parse_target(request.method, request.path, request.query)
        self._kinds.add(target, request.query.items(), entry.content_type, entry.user_agent)
        caller = self._identify(request, target)
        entry.user = caller.user.name
        caller.check(target.attributes())
        if not target.resource:
            return self._answer_path(request, target)
        if not self._catalog.list_group(target.group, target.version):
            return not_found_page()
        resource = self._catalog.find_in_group(target.group, target.version, target.resource)
        if resource is None:
            raise unknown_resource()
        if target.subresource and resource.subresource(target.subresource) is None:
            raise unknown_resource()
        if target.resource == "pods" and target.subresource in POD_PATHS:
            if target.subresource in CONNECTS and target.verb == "get":
                _check_connect(caller, target)
            return await self._pods.answer(request, target)
        body = await read_body(request)
        if not resource.stored:
            return self._answer_review(request, target, resource, body, caller)
        if (target.resource, target.subresource) == ("serviceaccounts", "token"):
            return self._issue_token(request, target, resource, body)
        return await self._rest.answer(request, target, resource, body, caller)

    def _identify(self, request: web.BaseRequest, target: Target) -> Caller:
        """Who is asking, or as whom they ask; raises ApiError 401 or 403."""
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        user = authenticate(
            self._read_token,
            request.headers.get("Authorization", ""),
            request.headers.get("Sec-WebSocket-Protocol", ""),
            read_certificate(certificate),
        )
        caller = Caller(user, self._authorize)
        shown = impersonate(request.headers.items(), caller, target.attributes())
        return replace(caller, user=shown)

    def _read_token(self, token: str) -> User | None:
        return find_token(self._tokens, token) or self._accounts.read_token(token)

    def _check_token(self, token: str, audiences: list[str]) -> tuple[User, list[str]] | None:
        return self._accounts.check_token(token, audiences)

    def _answer_review(
        self,
        request: web.BaseRequest,
        target: Target,
        resource: Resource,
        body: bytes,
        caller: Caller,
    ) -> web.Response:
        if target.verb != "create" or target.name:
            raise wrong_method()
        review, _ = parse_object(resource, request.headers.get("Content-Type", ""), body)
        check_decodable(resource.kind, review)
        answer = answer_review(
            resource,
            review,
            caller,
            self._rbac,
            self._check_token,
            namespace=target.namespace,
            now=self._clock(),
        )
        return respond(answer, 201)

    def _issue_token(
        self, request: web.BaseRequest, target: Target, resource: Resource, body: bytes
    ) -> web.Response:
        if target.verb != "create":
            raise wrong_method()
        content_type = request.headers.get("Content-Type", "")
        asked, _ = parse_object(resource, content_type, body, kind="TokenRequest")
        check_decodable("TokenRequest", asked)
        answer = self._accounts.answer_request(target.namespace, target.name, asked)
        return respond(answer, 201)

    def _answer_path(self, request: web.BaseRequest, target: Target) -> web.Response:
        health = next((path for path in HEALTH_PATHS if target.path.startswith(path)), None)
        if health is None and build_document(self._catalog, target.path, "") is None:
            return not_found_page()
        if target.method != "GET":
            raise wrong_method()
        if health is not None:
            verbose = "verbose" in request.query
            text = f"[+]ping ok\n{health[1:]} check passed\n" if verbose else "ok"
            return web.Response(text=text, headers={"X-Content-Type-Options": "nosniff"})
        if wants_aggregated(request.headers.get("Accept", "")):
            document = build_aggregated(self._catalog, target.path)
            if document is not None:
                return _respond_aggregated(request, document)
        return respond(build_document(self._catalog, target.path, request.host) or {})


def _check_connect(caller: Caller, target: Target) -> None:
    """A GET that connects needs the right to create too; the refusal gives no reason."""
    if not caller.may(replace(target.attributes(), verb="create")):
        raise forbidden(target.group, target.resource, target.name, "")


def commits_nothing(request: web.BaseRequest) -> bool:
    """A watch or a WebSocket: it ends long after it has done what it does."""
    return "watch" in request.query or "Upgrade" in request.headers


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
