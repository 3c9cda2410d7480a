"""Pods that are this process: their ports are on its loopback, their commands run beside it.

The servers are those of the recorded pods, as the recordings' README lists them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from ktnet.lab.api.store import Store

ECHO, ECHO_LOOPBACK, BYE, HALF, AFTER_EOF, SOURCE, SINK, RESET = (
    *(7001, 7002, 7004, 7005, 7006, 7007, 7008, 7009),
)
MEBIBYTE = 2**20
RESET_AFTER_S = 0.3
"""What it said before must have gone out: an RST drops it."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run_pod(store: Store, namespace: str, name: str, *, second: str = "") -> None:
    """A pod that scheduler and kubelet have seen: it runs; perhaps it has a second container."""
    names = ["main", second] if second else ["main"]
    containers = [{"name": each, "image": "lab/any:1"} for each in names]
    store.create(
        "pods", namespace, {"metadata": {"name": name}, "spec": {"containers": containers}}
    )
    bind_pod(store, namespace, name)
    set_state(store, namespace, name, "Running", {"running": {}})


def bind_pod(store: Store, namespace: str, name: str) -> None:
    store.patch("pods", namespace, name, {"spec": {"nodeName": "n"}}, subresource="binding")


def set_state(store: Store, namespace: str, name: str, phase: str, state: dict) -> None:
    container = {"name": "main", "state": state, "lastState": {}}
    status = {"phase": phase, "containerStatuses": [container]}
    store.patch("pods", namespace, name, {"status": status}, subresource="status")


class LoopbackPods:
    """A runtime for the API server: every pod has the same servers."""

    def __init__(self) -> None:
        self._ports: dict[int, int] = {}
        self._stack = contextlib.AsyncExitStack()
        self.absent: set[str] = set()
        """Pods that the kubelet doesn't know."""
        self.silent: set[str] = set()
        """Pods in which nothing listens."""
        self.logs: dict[tuple[str, bool], Any] = {}

    async def __aenter__(self) -> LoopbackPods:
        for port, serve in SERVERS.items():
            server = await asyncio.start_server(closing(serve), "127.0.0.1", 0)
            self._stack.push_async_callback(end_server, server)
            self._ports[port] = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def connect(self, namespace: str, pod: str, port: int) -> socket.socket:
        if pod in self.absent:
            raise LookupError(pod)
        if port not in self._ports or pod in self.silent:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        connection = socket.socket()
        connection.setblocking(False)
        place = ("127.0.0.1", self._ports[port])
        await asyncio.get_running_loop().sock_connect(connection, place)
        return connection

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Any:
        return self.logs.get((pod, previous), Log(()))

    async def exec(self, namespace, pod, container, command, *, stdin, tty) -> Process:
        process = await start_process(command, stdin=stdin)
        self._stack.push_async_callback(process.end)
        return process


async def end_server(server: asyncio.Server) -> None:
    server.close()


class Log:
    """What a container wrote before it was asked, and what it writes before it ends."""

    def __init__(
        self, lines: Sequence[tuple[int, bytes]], later: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self.lines, self._later = lines, later

    async def follow(self) -> AsyncIterator[tuple[int, bytes]]:
        for line in self._later:
            yield line


class Process:
    """A command beside this process, as an exec in a pod."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def read_stdout(self) -> bytes:
        return await self._process.stdout.read(32768)

    async def read_stderr(self) -> bytes:
        return await self._process.stderr.read(32768)

    def resize(self, width: int, height: int) -> None:
        raise NotImplementedError("no terminal here")

    async def end(self) -> None:
        """Some go on when their client has left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.communicate()

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code


ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
}
"""`python` is the interpreter that this runs on."""


async def start_process(command: list[str], *, stdin: bool) -> Process:
    pipe = asyncio.subprocess.PIPE
    given = pipe if stdin else asyncio.subprocess.DEVNULL
    return Process(
        await asyncio.create_subprocess_exec(
            *command,
            stdin=given,
            stdout=pipe,
            stderr=pipe,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    )


def serve_echo(port: int) -> Serve:
    """Greets with whom it sees, as the port that it stands for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        writer.write(f"peer={peer} local={('127.0.0.1', port)}\n".encode())
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    return serve


async def serve_bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"bye\n")


async def serve_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello, my side closes now\n")
    writer.write_eof()
    while await reader.read(65536):
        pass


async def serve_after_eof(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    data = await reader.read()
    writer.write(f"got {len(data)} bytes\n".encode())


async def serve_source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(8 * MEBIBYTE))
    await writer.drain()


async def serve_sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says something of the recorded length after every 8 MiB."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while data := await reader.readexactly(8 * MEBIBYTE):
            writer.write(f"{len(data)}".ljust(97).encode())


async def serve_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"then RST\n")
    await writer.drain()
    await asyncio.sleep(RESET_AFTER_S)
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


SERVERS: dict[int, Serve] = {
    ECHO: serve_echo(ECHO),
    ECHO_LOOPBACK: serve_echo(ECHO_LOOPBACK),
    BYE: serve_bye,
    HALF: serve_half,
    AFTER_EOF: serve_after_eof,
    SOURCE: serve_source,
    SINK: serve_sink,
    RESET: serve_reset,
}


def closing(serve: Serve) -> Serve:
    """Its connection ends with it."""

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            await serve(reader, writer)

    return serve_and_close
