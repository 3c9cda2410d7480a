"""The proxy between real sockets; the tunnel is replaced by this machine's own loopback."""

import asyncio
import shutil
import subprocess
from contextlib import asynccontextmanager

import pytest

from ktnet.errors import Conflict, UsageError
from ktnet.proxy.handshake import Credentials
from ktnet.proxy.server import open_proxy_server
from ktnet.stream.target import SocketOpening

LIMIT_S = 10.0
NAMES = {"tomcat.demo": "127.0.0.1"}


class Loopback:
    """A Dialer whose far side is this machine."""

    def open_tcp(self, host, port, origin, receiver):
        return SocketOpening(NAMES.get(host, host), port, receiver)


async def answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    body = head.split(b"\r\n")[0]
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    if b"Connection: close" in head:
        writer.close()


async def echo_until_eof(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    data = await reader.read()
    writer.write(data)
    writer.close()


@asynccontextmanager
async def open_scene(handler=echo_until_eof, credentials=None):
    """The proxy's port and the target's."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader, writer):
        writers.append(writer)
        await handler(reader, writer)

    target = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with open_proxy_server("127.0.0.1", 0, Loopback(), credentials) as server:
        yield server.address[1], target.sockets[0].getsockname()[1]
    target.close()
    for writer in writers:
        if writer.get_extra_info("socket").fileno() != -1:
            writer.transport.abort()
        await writer.wait_closed()


def test_socks5_carries_bytes_and_both_ends():
    async def run() -> None:
        async with open_scene() as (proxy, target):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
            name = b"tomcat.demo"
            writer.write(b"\x05\x01\x00")
            writer.write(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + target.to_bytes(2))
            block = bytes(range(256)) * 4096
            async with asyncio.timeout(LIMIT_S):
                assert (await reader.readexactly(12))[:4] == b"\x05\x00\x05\x00"
                writer.write(block)
                writer.write_eof()
                assert await reader.read() == block
            writer.close()

    asyncio.run(run())


def test_refused_target_is_said_to_be_refused():
    async def run() -> None:
        async with open_scene() as (proxy, _target):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
            writer.write(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01")
            async with asyncio.timeout(LIMIT_S):
                assert (await reader.read())[:4] == b"\x05\x00\x05\x05"
            writer.close()

    asyncio.run(run())


CURL = {
    "socks5h": ("--socks5-hostname", "{proxy}"),
    "http": ("--proxy", "http://{proxy}"),
    "connect": ("--proxytunnel", "--proxy", "http://{proxy}"),
}


@pytest.mark.parametrize("password", [False, True])
@pytest.mark.parametrize("way", CURL)
def test_curl(way: str, password: bool):
    curl = shutil.which("curl")
    assert curl, "curl is part of what the tests need"

    async def run() -> None:
        credentials = Credentials("alice", "secret") if password else None
        async with open_scene(answer_http, credentials) as (proxy, target):
            options = [each.format(proxy=f"127.0.0.1:{proxy}") for each in CURL[way]]
            if password:
                options += ["--proxy-user", "alice:secret"]
            url = f"http://tomcat.demo:{target}/a?b=c"
            done = await asyncio.to_thread(
                subprocess.run,
                [curl, "--noproxy", "", "-sS", "-m", "10", *options, url],
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.stdout, done.stderr) == ("GET /a?b=c HTTP/1.1", "")

    asyncio.run(run())


def test_address_in_use_is_a_conflict():
    async def run() -> None:
        async with open_scene() as (proxy, _):
            with pytest.raises(Conflict):
                async with open_proxy_server("127.0.0.1", proxy, Loopback()):
                    pass
            with pytest.raises(UsageError):
                async with open_proxy_server("192.0.2.1", 0, Loopback()):
                    pass

    asyncio.run(run())
