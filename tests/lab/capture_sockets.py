"""Applications for tests of the capture: sockets that are connected through the TUN."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from capture_scene import CLUSTER


@asynccontextmanager
async def connected(
    port: int, address: str = CLUSTER, *, source: tuple[str, int] | None = None
) -> AsyncIterator[socket.socket]:
    """A non-blocking TCP socket, closed with the block."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    with closing(sock):
        if source is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(source)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        yield sock


async def receive(sock: socket.socket, count: int) -> bytes:
    """`count` bytes, or fewer where the stream ends."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count and (more := await loop.sock_recv(sock, count - len(data))):
        data += more
    return bytes(data)


async def send(sock: socket.socket, data: bytes) -> None:
    """All of `data`."""
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def error_of(port: int) -> tuple[int | None, float]:
    """errno of a connection that must fail, and after how many seconds it did."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with connected(port):
            pass
    except OSError as error:
        return error.errno, loop.time() - began
    raise AssertionError("connected")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells, such as a counter."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
