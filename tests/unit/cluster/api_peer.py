"""An API server that looks at credentials only; and proxies to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from ktnet.lab.api.tls import build_certificates

Check = Callable[[web.BaseRequest], bool]


@dataclass
class Peer:
    """What it saw."""

    url: str = ""
    ca_pem: str = ""
    headers: list = field(default_factory=list)
    subjects: list = field(default_factory=list)
    """Common names of the clients' certificates, one a request; None for none."""
    names: list = field(default_factory=list)
    """What TLS asked for (SNI)."""

    def authorizations(self) -> list:
        return [each.get("Authorization") for each in self.headers]


@asynccontextmanager
async def open_peer(
    accept: Check = lambda _: True, *, clients_ca: str = "", name: str = "127.0.0.1"
) -> AsyncIterator[Peer]:
    """Answers {} to what `accept` takes, 401 else; its certificate is for `name`."""
    peer = Peer()
    certificates = build_certificates([name])
    context = certificates.build_server_context()
    if clients_ca:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=clients_ca)
    context.sni_callback = lambda _socket, asked, _context: peer.names.append(asked)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        peer.headers.append(request.headers)
        shown = request.transport.get_extra_info("peercert") or {}
        subject = dict(pair for pairs in shown.get("subject", ()) for pair in pairs)
        peer.subjects.append(subject.get("commonName"))
        if not accept(request):
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.close()
            return socket
        return web.json_response({})

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    peer.url, peer.ca_pem = f"https://127.0.0.1:{port}", certificates.ca_pem
    try:
        yield peer
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_http_proxy(
    to: int, *, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list]]:
    """A proxy (RFC 9110 9.3.6) whose every tunnel ends at a local port; (its port, requests)."""
    seen: list = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _splice(reader, writer, to)

    async with _listening(serve, context) as port:
        yield port, seen


@asynccontextmanager
async def open_socks_proxy(to: int) -> AsyncIterator[tuple[int, list]]:
    """The same, by SOCKS5 (RFC 1928), with a password (RFC 1929) where one is offered."""
    seen: list = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        writer.write(bytes([5, 2 if 2 in methods else 0]))
        if 2 in methods:
            _, length = await reader.readexactly(2)
            user = await reader.readexactly(length)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            seen.append((user.decode(), password.decode()))
            writer.write(b"\1\0")
        _, command, _, kind = await reader.readexactly(4)
        assert command == 1
        length = (await reader.readexactly(1))[0] if kind == 3 else 4
        host = await reader.readexactly(length)
        await reader.readexactly(2)
        seen.append((kind, host))
        writer.write(b"\5\0\0\1\0\0\0\0\0\0")
        await _splice(reader, writer, to)

    async with _listening(serve, None) as port:
        yield port, seen


@asynccontextmanager
async def _listening(serve, context) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int) -> None:
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while part := await source.read(65536):
                sink.write(part)
                await sink.drain()
        except OSError:
            pass
        sink.close()

    await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))
