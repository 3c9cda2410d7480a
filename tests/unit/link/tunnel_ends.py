"""Both ends of a tunnel in one process, a receiver that remembers, and a byte stream to cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field

from ktnet.link.connection import open_link
from ktnet.link.keys import new_client_key
from ktnet.shadow.hostkey import build_public_key, new_host_key
from ktnet.shadow.log import EventLog
from ktnet.shadow.resolver import Resolver
from ktnet.shadow.server import Shadow, open_server
from ktnet.stream.loop import run as run_loop

ORIGIN = ("192.168.64.10", 40000)


def run(coroutine, timeout_s=60.0):
    """Run a test's coroutine to its end."""

    async def limited():
        async with asyncio.timeout(timeout_s):
            return await coroutine

    return run_loop(limited())


async def until(condition, timeout_s=10.0):
    """Wait for a condition that nothing announces."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Between(asyncio.Protocol):
    """Stands before another protocol, and passes everything on."""

    def __init__(self, protocol):
        self._protocol = protocol

    def connection_made(self, transport):
        self._protocol.connection_made(transport)

    def data_received(self, data):
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(data)
            return
        while data:
            buffer = self._protocol.get_buffer(len(data))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            self._protocol.buffer_updated(count)
            data = data[count:]

    def connection_lost(self, exc):
        self._protocol.connection_lost(exc)

    def pause_writing(self):
        self._protocol.pause_writing()

    def resume_writing(self):
        self._protocol.resume_writing()


class Recorder:
    """A Receiver that remembers what it was told, and checks that the order is allowed."""

    def __init__(self):
        self.flow = None
        self.failure = None
        self.data = bytearray()
        self.received = 0
        self.keep = True
        self.eof = False
        self.end = None  # "end" or "reset"
        self.paused = False
        self.changed = asyncio.Event()

    async def until(self, condition, timeout_s=10.0):
        async with asyncio.timeout(timeout_s):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()

    async def until_open(self):
        await self.until(lambda r: r.flow is not None or r.failure is not None)
        assert self.failure is None, self.failure
        return self.flow

    async def until_failed(self):
        await self.until(lambda r: r.flow is not None or r.failure is not None)
        assert self.flow is None
        return self.failure

    async def until_closed(self, timeout_s=10.0):
        await self.until(lambda r: r.end is not None, timeout_s)
        return self.end

    def opened(self, flow):
        assert self.flow is None
        assert self.failure is None
        self.flow = flow
        self.changed.set()

    def open_failed(self, failure):
        assert self.flow is None
        assert self.failure is None
        self.failure = failure
        self.changed.set()

    def data_received(self, data):
        assert data
        assert self.flow is not None
        assert not self.eof
        assert self.end is None
        self.received += len(data)
        if self.keep:
            self.data += data
        self.changed.set()

    def eof_received(self):
        assert not self.eof
        assert self.end is None
        self.eof = True
        self.changed.set()

    def closed(self, *, reset):
        assert self.flow is not None
        assert self.end is None
        self.end = "reset" if reset else "end"
        self.changed.set()

    def pause_writing(self):
        assert not self.paused
        self.paused = True
        self.changed.set()

    def resume_writing(self):
        assert self.paused
        self.paused = False
        self.changed.set()


@dataclass
class Ends:
    """A shadow that listens on loopback, and what is needed to attach to it."""

    shadow: Shadow
    port: int
    client_key: object
    host_key: str
    log_lines: list[str] = field(default_factory=list)

    async def dial(self, factory):
        return await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", self.port)

    def attach(self, connect=None, **options):
        options = {"client_key": self.client_key, "host_key": self.host_key} | options
        return open_link(connect or self.dial, **options)


@contextlib.asynccontextmanager
async def open_shadow(servers=(), exposables=(), health_port=0, **resolver_options):
    """A shadow in this process, for one client key."""
    client_key, _ = new_client_key()
    host_key = new_host_key()
    lines = []
    group = asyncio.TaskGroup()
    shadow = Shadow(
        authorized_key=client_key.convert_to_public(),
        resolver=Resolver(servers, **resolver_options),
        log=EventLog("host key", lines.append),
        group=group,
        exposables=exposables,
        health_port=health_port,
    )
    async with open_server(shadow, host_key, "127.0.0.1", 0) as acceptor, group:
        yield Ends(shadow, acceptor.get_port(), client_key, build_public_key(host_key), lines)
        await shadow.inbound.drain(0.0, 0.0)
        await shadow.drain(0.0)


@contextlib.asynccontextmanager
async def open_tunnel(**options):
    """(link, ends): attached."""
    async with open_shadow(**options) as ends, ends.attach() as link:
        yield link, ends


def open_flow(link, port, host="127.0.0.1"):
    receiver = Recorder()
    link.open_tcp(host, port, ORIGIN, receiver)
    return receiver


@contextlib.asynccontextmanager
async def open_target(handle):
    """A TCP server on loopback whose handler gets a plain socket, for `loop.sock_*`; yields its
    port. A handler that does not look for resets ends with one."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    async with asyncio.TaskGroup() as group:

        async def serve(sock):
            with sock, contextlib.suppress(ConnectionError):
                await handle(sock)

        def accept():
            sock, _ = listener.accept()
            sock.setblocking(False)
            group.create_task(serve(sock))

        loop.add_reader(listener, accept)
        try:
            yield listener.getsockname()[1]
        finally:
            loop.remove_reader(listener)
            listener.close()


async def echo(sock):
    """A target that sends back what comes, and ends when its peer does."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(sock, 1 << 16):
        await loop.sock_sendall(sock, data)


class Cable:
    """A TCP relay to a port; can be cut, or stop to take anything."""

    def __init__(self, port):
        self._port = port
        self._open = asyncio.Event()
        self._open.set()
        self._writers = []
        self._relays = 0

    @contextlib.asynccontextmanager
    async def laid(self):
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            while self._relays:  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def dial(self, factory):
        return await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", self.port)

    def cut(self):
        self._open.set()
        for writer in self._writers:
            writer.transport.abort()
        self._writers = []

    def stop(self):
        """Read nothing more: what is sent piles up at its sender."""
        self._open.clear()

    def go_on(self):
        self._open.set()

    def count_relays(self):
        """Connections that lie through it."""
        return self._relays

    async def _relay(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        self._relays += 1
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self._relays -= 1

    async def _pump(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
