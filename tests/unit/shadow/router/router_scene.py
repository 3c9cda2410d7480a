"""A router between real sockets: an origin, a laptop, and clients that say just what they want."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ktnet.shadow.destinations import Origin
from ktnet.shadow.router.listener import Expected, RouterPort, open_router_port
from ktnet.shadow.router.table import Table

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LIMIT_S = 10.0


class Server:
    """Something that a request can reach; keeps what it was sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.connections = 0
        self.received = bytearray()
        self.heads: list[bytes] = []

    async def serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers each request with its own name and the body that came; plain HTTP/1.1."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                body = await read_body(reader, head)
                answer = b"%s:%d" % (self.name.encode(), len(body))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve_bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Echoes with its name in front."""
        self.connections += 1
        try:
            writer.write(self.name.encode() + b">")
            while data := await reader.read(65536):
                self.received += data
                writer.write(data)
            writer.write_eof()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while await reader.readline() != b"\r\n":
            pass
        return body
    _, found, rest = lower.partition(b"content-length:")
    return await reader.readexactly(int(rest.split(b"\r\n")[0])) if found else b""


class Scene:
    """A router with an origin and one laptop, marked `version: alice`."""

    def __init__(self, port: RouterPort, table: Table, origin: Server, laptop: Server) -> None:
        self.port = port
        self.table = table
        self.origin = origin
        self.laptop = laptop
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port.number)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        """The clients end."""
        for writer in self._writers:
            await cut(writer)

    async def exchange(self, *parts: bytes) -> bytes:
        """All that comes back until the router closes, the client having ended its side."""
        reader, writer = await self.connect()
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.write_eof()
        try:
            async with asyncio.timeout(LIMIT_S):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def open_scene(
    origin_handler: Callable[[Server], Handler] = lambda server: server.serve_http,
    laptop_handler: Callable[[Server], Handler] = lambda server: server.serve_http,
    expected: Expected = Expected.UNKNOWN,
) -> AsyncIterator[Scene]:
    origin, laptop = Server("origin"), Server("laptop")
    async with (
        serve(origin, origin_handler(origin)),
        serve(laptop, laptop_handler(laptop)),
    ):
        table = Table(Origin("127.0.0.1", origin.port))
        table.add("version", "alice", Origin("127.0.0.1", laptop.port))
        async with open_router_port("127.0.0.1", 0, table, expected) as port:
            scene = Scene(port, table, origin, laptop)
            try:
                yield scene
            finally:
                await scene.close()


@asynccontextmanager
async def serve(server: Server, handler: Handler) -> AsyncIterator[None]:
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        await handler(reader, writer)

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        listening.close()
        for writer in writers:
            await cut(writer)


async def cut(writer: asyncio.StreamWriter) -> None:
    """End a connection in whatever state it is."""
    # One that has closed after it sent what was left doesn't stand an abort (AttributeError).
    if writer.get_extra_info("socket").fileno() != -1:
        writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def read_response(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one response with a Content-Length."""
    async with asyncio.timeout(LIMIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        return head, await read_body(reader, head)
