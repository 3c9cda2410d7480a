"""Requests that go on to a pod: log, exec, portforward.

A real API server only asks the kubelet and passes on what that says: hence the plain-text answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Coroutine

from aiohttp import web

from ktnet.lab.api import execution, portforward
from ktnet.lab.api.errors import ApiError, Obj, bad_request, not_supported
from ktnet.lab.api.execution import ExecOptions, Execution
from ktnet.lab.api.logs import (
    check_container_runs,
    choose_container,
    find_container_status,
    now_ns,
    parse_log_options,
    read_log,
)
from ktnet.lab.api.portforward import BadPorts, PortForward, name_sandbox, parse_ports
from ktnet.lab.api.query import parse_bool
from ktnet.lab.api.runtime import ContainerExec, PodRuntime
from ktnet.lab.api.store import Store
from ktnet.lab.api.target import Target
from ktnet.lab.api.upgrade import NoCommonSubprotocol, WebSocket, is_websocket, upgrade
from ktnet.lab.faults.streams import EXEC, PORT_FORWARD, Streams

log = logging.getLogger(__name__)


class PodPaths:
    """Subresources of pods that are answered by what runs them."""

    def __init__(self, store: Store, runtime: PodRuntime, sessions: asyncio.TaskGroup) -> None:
        """`sessions` holds what outlives its request: a port-forward ends after its client."""
        self._store = store
        self._runtime = runtime
        self._sessions = sessions
        self._running: set[asyncio.Task[None]] = set()
        self.streams = Streams()

    def end(self) -> None:
        """Ends all sessions."""
        for task in self._running:
            task.cancel()

    async def answer(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """Raises ApiError."""
        pod = self._store.get("pods", target.namespace, target.name)
        try:
            match target.subresource:
                case "log":
                    return await self._log(request, pod)
                case "portforward":
                    return await self._port_forward(request, pod)
                case "exec":
                    return await self._exec(request, pod)
        except NoCommonSubprotocol:
            return web.Response(status=403, headers={"Connection": "close"})
        raise not_supported(f"pods/{target.subresource}")

    async def _log(self, request: web.BaseRequest, pod: Obj) -> web.StreamResponse:
        options = parse_log_options(request.query, now_ns())
        container = choose_container(pod, request.query.get("container", ""))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        if not pod["spec"].get("nodeName"):
            # Nobody to ask: a real API server answers with an empty log.
            await response.prepare(request)
            return response
        check_container_runs(pod, container, previous=options.previous)
        meta = pod["metadata"]
        try:
            found = self._runtime.log(
                meta["namespace"], meta["name"], container, previous=options.previous
            )
        except LookupError as error:
            raise bad_request(
                f'container "{container}" in pod "{meta["name"]}" is waiting to start: '
                "ContainerCreating"
            ) from error
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for data in read_log(found, options):
            await response.write(data)
        await response.write_eof()
        return response

    async def _port_forward(self, request: web.BaseRequest, pod: Obj) -> web.StreamResponse:
        check_upgrade(request)
        try:
            ports = parse_ports(request.query.getall("ports", []))
        except BadPorts as error:
            return web.Response(text=str(error), status=400)
        _check_node(pod)
        meta = pod["metadata"]
        dial = functools.partial(self._runtime.connect, meta["namespace"], meta["name"])
        over = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        try:
            first: socket.socket | OSError | LookupError = (
                LookupError() if over else await dial(ports[0])
            )
        except (OSError, LookupError) as error:
            first = error
        if isinstance(first, LookupError):
            text = f'pod not found ("{meta["name"]}_{meta["namespace"]}")'
            return web.Response(text=text, status=500)

        async def connect_first() -> socket.socket:
            if isinstance(first, socket.socket):
                return first
            raise first

        try:
            websocket, _ = await upgrade(request, portforward.SUBPROTOCOLS)
        except BaseException:
            if isinstance(first, socket.socket):
                first.close()
            raise
        rest = [functools.partial(dial, port) for port in ports[1:]]
        forward = PortForward(websocket, ports, name_sandbox(meta["uid"]))
        with self._open_stream(websocket, PORT_FORWARD, request, pod):
            await self._attend(forward.run([connect_first, *rest]))
        return websocket.response

    async def _exec(self, request: web.BaseRequest, pod: Obj) -> web.StreamResponse:
        query = request.query
        options = ExecOptions(
            command=query.getall("command", []),
            stdin=parse_bool(query.get("stdin", "")),
            stdout=parse_bool(query.get("stdout", "")),
            stderr=parse_bool(query.get("stderr", "")),
            tty=parse_bool(query.get("tty", "")),
        )
        container = choose_container(pod, query.get("container", ""))
        check_upgrade(request)
        _check_node(pod)
        if "running" not in (find_container_status(pod, container).get("state") or {}):
            return web.Response(text=f'container not found ("{container}")', status=500)
        meta = pod["metadata"]

        def start() -> Coroutine[None, None, ContainerExec]:
            return self._runtime.exec(
                meta["namespace"],
                meta["name"],
                container,
                options.command,
                stdin=options.stdin,
                tty=options.tty,
            )

        websocket, subprotocol = await upgrade(request, execution.SUBPROTOCOLS)
        with self._open_stream(websocket, EXEC, request, pod):
            await self._attend(Execution(websocket, subprotocol, options).run(start))
        return websocket.response

    def _open_stream(
        self, websocket: WebSocket, kind: str, request: web.BaseRequest, pod: Obj
    ) -> contextlib.AbstractContextManager[None]:
        meta = pod["metadata"]
        name = f"{meta['namespace']}/{meta['name']}"
        return self.streams.opened(websocket, kind, name, find_peer(request))

    async def _attend(self, session: Coroutine[None, None, None]) -> None:
        """Waits for a session that goes on where the request's handler is cancelled."""
        task = self._sessions.create_task(_guard(session))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)


async def _guard(session: Coroutine[None, None, None]) -> None:
    try:
        await session
    except Exception:  # a bug in one session must not end the cluster
        log.exception("a session with a pod failed")


def find_peer(request: web.BaseRequest) -> tuple[str, int]:
    """The client's address and port; ("", 0) where it is gone already."""
    peer = request.get_extra_info("peername") or ("", 0)
    return peer[0], peer[1]


def check_upgrade(request: web.BaseRequest) -> None:
    """Raises ApiError 400 for what asks for no upgrade, 501 for SPDY, plain or in a WebSocket."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    protocol = request.headers.get("Upgrade", "")
    if not is_websocket(request):
        if protocol.upper().startswith("SPDY/"):
            raise not_supported("SPDY: use a WebSocket")
        raise bad_request("Upgrade request required")
    names = [each.strip() for each in offered.split(",")]
    if any(name.startswith("SPDY/") for name in names):
        # A real API server prefers it, in whatever place it is offered.
        raise not_supported("SPDY tunnelled in a WebSocket: offer a channel protocol")
    if any("base64." in name and name.endswith(".channel.k8s.io") for name in names):
        raise not_supported("channels in base64: offer v4.channel.k8s.io")


def _check_node(pod: Obj) -> None:
    if not pod["spec"].get("nodeName"):
        name = pod["metadata"]["name"]
        raise ApiError(400, "BadRequest", f"pod {name} does not have a host assigned")
