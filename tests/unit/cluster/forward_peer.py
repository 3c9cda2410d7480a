"""A WebSocket server that plays the API server's part of a port-forward, well or badly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from ktnet.cluster.config import ClusterTarget
from ktnet.cluster.kubeconfig.access import Access
from ktnet.cluster.kubeconfig.credentials import Constant, build_bearer
from ktnet.cluster.kubeconfig.model import Cluster
from ktnet.cluster.kubeconfig.tls import build_trust
from ktnet.cluster.server.api import Api, open_api
from ktnet.wire.portforward import SUBPROTOCOL

Play = Callable[[web.WebSocketResponse], Awaitable[None]]


def target_of(
    server: str, token: str = "", *, ca_pem: str = "", proxy: str | None = None
) -> ClusterTarget:
    trust = build_trust(Cluster(server=server, certificate_authority_data=ca_pem.encode()))
    credentials = Constant([build_bearer(token)] if token else [])
    return ClusterTarget(server, "demo", "test", Access(trust, credentials, proxy))


@asynccontextmanager
async def open_http(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[Api]:
    """An Api whose server is this handler."""
    server = web.Server(handler)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with open_api(target_of(f"http://127.0.0.1:{port}")) as api:
            yield api
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_peer(play: Play) -> AsyncIterator[Api]:
    """An Api whose every port-forward is played by `play`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=0, autoping=False, timeout=0.1
        )
        await socket.prepare(request)
        await play(socket)
        return socket

    async with open_http(handle) as api:
        yield api
