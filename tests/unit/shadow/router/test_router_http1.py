"""HTTP/1 through the router, between real sockets."""

import asyncio
import hashlib

import pytest
from router_scene import LIMIT_S, Server, open_scene, read_response

from ktnet.shadow.destinations import Origin
from ktnet.shadow.router.listener import SILENCE_S

GET = b"GET / HTTP/1.1\r\nHost: tomcat\r\n\r\n"
MARKED = b"GET / HTTP/1.1\r\nHost: tomcat\r\nVersion: alice\r\n\r\n"
PACKED = b"GET / HTTP/1.1\r\nHost: tomcat\r\nbaggage: a=1, version=al%69ce;p=1\r\n\r\n"


def test_each_request_of_a_connection_goes_where_its_headers_say():
    async def run() -> None:
        async with open_scene() as scene:
            reader, writer = await scene.connect()
            for request, expected in ((GET, b"origin:0"), (MARKED, b"laptop:0")) * 3 + (
                (PACKED, b"laptop:0"),
            ):
                writer.write(request)
                _, body = await read_response(reader)
                assert body == expected
            assert scene.origin.connections == scene.laptop.connections == 1
            assert scene.origin.heads[0] == GET  # untouched
            writer.close()

    asyncio.run(run())


def test_chunked_request_arrives_whole():
    async def run() -> None:
        async with open_scene() as scene:
            answer = await scene.exchange(
                b"POST / HTTP/1.1\r\nHost: t\r\nversion: alice\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n",
                b"5;ext=1\r\nhel",
                b"lo\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
            )
            assert answer.endswith(b"laptop:8")

    asyncio.run(run())


def test_body_of_any_size_is_streamed():
    size = 64 * 1024 * 1024

    def hashing(server: Server):
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            digest = hashlib.sha256()
            left = size
            while left:
                data = await reader.read(min(left, 1 << 20))
                digest.update(data)
                left -= len(data)
            answer = digest.hexdigest().encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            writer.close()

        return handle

    async def run() -> None:
        async with open_scene(hashing) as scene:
            reader, writer = await scene.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
            block = bytes(range(256)) * 4096
            digest = hashlib.sha256()
            for _ in range(size // len(block)):
                writer.write(block)
                digest.update(block)
                await writer.drain()
            _, body = await read_response(reader)
            assert body.decode() == digest.hexdigest()
            writer.close()

    asyncio.run(run())


def test_slow_client_holds_the_destination_back():
    size = 32 * 1024 * 1024
    sent = 0

    def endless(server: Server):
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // 65536):
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536
            writer.close()

        return handle

    async def run() -> None:
        async with open_scene(endless) as scene:
            reader, writer = await scene.connect()
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            before = -1
            while before != sent:  # until nothing moves any more
                before = sent
                await asyncio.sleep(0.3)
            assert 0 < sent < size // 2
            async with asyncio.timeout(LIMIT_S):
                assert await reader.readexactly(size) == bytes(size)
            writer.close()

    asyncio.run(run())


def test_expect_continue():
    def careful(server: Server):
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(5)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

        return handle

    async def run() -> None:
        async with open_scene(careful) as scene:
            reader, writer = await scene.connect()
            writer.write(
                b"PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            )
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hello")
            _, body = await read_response(reader)
            assert body == b"hello"
            writer.close()

    asyncio.run(run())


def test_upgrade_becomes_bytes_both_ways():
    def upgrading(server: Server):
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\n\r\nfirst"
            )
            while data := await reader.read(100):
                writer.write(data.upper())
            writer.close()

        return handle

    async def run() -> None:
        async with open_scene(laptop_handler=upgrading) as scene:
            reader, writer = await scene.connect()
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: t\r\nversion: alice\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\n\r\n"
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101")
            assert await reader.readexactly(5) == b"first"
            writer.write(b"GET / HTTP/1.1 is only bytes now")
            assert await reader.readexactly(32) == b"GET / HTTP/1.1 IS ONLY BYTES NOW"
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

    asyncio.run(run())


def test_h2c_upgrade_is_not_offered_to_the_server():
    async def run() -> None:
        async with open_scene() as scene:
            await scene.exchange(
                b"GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
            )
            assert scene.origin.heads == [b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"]

    asyncio.run(run())


def test_pipelined_requests_are_refused_behind_the_first_answer():
    async def run() -> None:
        async with open_scene() as scene:
            answer = await scene.exchange(GET + MARKED)
            assert answer.count(b"HTTP/1.1 200") == 1
            assert b"Connection: close" in answer
            assert answer.endswith(b"origin:0")
            assert not scene.laptop.heads

    asyncio.run(run())


def test_head_response_and_until_close_response():
    def silent(server: Server):
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HEAD"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
            writer.close()

        return handle

    async def run() -> None:
        async with open_scene(silent) as scene:
            reader, writer = await scene.connect()
            writer.write(GET.replace(b"GET", b"HEAD"))
            assert b"77" in await reader.readuntil(b"\r\n\r\n")
            writer.write(GET)
            assert (
                await reader.read() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"
            )
            writer.close()

    asyncio.run(run())


def test_kept_connection_that_was_closed_meanwhile_is_opened_anew():
    """One request is answered on each connection, then it is closed as the next one arrives."""

    def forgetful(server: Server):
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        return handle

    async def run() -> None:
        async with open_scene(forgetful) as scene:
            reader, writer = await scene.connect()
            for _ in range(4):
                writer.write(GET)
                _, body = await read_response(reader)
                assert body == b"ok"
            assert scene.origin.connections == 4
            writer.close()

    asyncio.run(run())


def test_post_on_a_connection_that_was_closed_is_not_sent_twice():
    def forgetful(server: Server):
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        return handle

    async def run() -> None:
        async with open_scene(forgetful) as scene:
            reader, writer = await scene.connect()
            writer.write(GET)
            await read_response(reader)
            writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx")
            async with asyncio.timeout(LIMIT_S):
                assert await reader.read() == b""
            assert scene.origin.connections == 1
            writer.close()

    asyncio.run(run())


def test_nothing_listens_there():
    async def run() -> None:
        async with open_scene() as scene:
            scene.table.add("version", "bob", Origin("127.0.0.1", 1))
            answer = await scene.exchange(MARKED.replace(b"alice", b"bob"))
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"nothing listens there" in answer

    asyncio.run(run())


def test_response_that_breaks_off_is_seen_to_break_off():
    def breaking(server: Server):
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await writer.drain()
            writer.close()

        return handle

    async def run() -> None:
        async with open_scene(breaking) as scene:
            reader, writer = await scene.connect()
            writer.write(GET)
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(LIMIT_S):
                    await reader.read()
            writer.close()

    asyncio.run(run())


def test_draining_router_lets_each_client_finish():
    async def run() -> None:
        async with open_scene() as scene:
            reader, writer = await scene.connect()
            writer.write(GET)
            await read_response(reader)
            draining = asyncio.ensure_future(scene.port.drain(LIMIT_S))
            await asyncio.sleep(0)
            writer.write(GET)
            head, body = await read_response(reader)
            assert b"Connection: close" in head
            assert body == b"origin:0"
            assert await reader.read() == b""
            writer.close()
            await draining

    asyncio.run(run())


@pytest.mark.parametrize("end", ["close", "reset"])
def test_client_that_goes_leaves_nothing(end: str):
    async def run() -> None:
        async with open_scene() as scene:
            for _ in range(20):
                reader, writer = await scene.connect()
                writer.write(MARKED)
                await read_response(reader)
                if end == "reset":
                    writer.transport.abort()
                else:
                    writer.close()
            async with asyncio.timeout(LIMIT_S):
                await scene.port.wait_gone()

    asyncio.run(run())


def test_bytes_go_to_the_origin():
    async def run() -> None:
        async with open_scene(lambda server: server.serve_bytes) as scene:
            assert (
                await scene.exchange(b"\x16\x03\x01\x00\x05hello")
                == b"origin>\x16\x03\x01\x00\x05hello"
            )
            reader, writer = await scene.connect()  # the server speaks first
            assert await reader.readexactly(7) == b"origin>"
            writer.close()

    asyncio.run(run())


def test_hundreds_of_kept_connections():
    async def run() -> None:
        async with open_scene() as scene:
            ends = [await scene.connect() for _ in range(300)]
            for request, expected in ((GET, b"origin:0"), (MARKED, b"laptop:0")) * 2:
                for _, writer in ends:
                    writer.write(request)
                for reader, _ in ends:
                    _, body = await read_response(reader)
                    assert body == expected
            for _, writer in ends:
                writer.close()

    asyncio.run(run())


def test_a_client_that_is_slow_to_ask_is_routed_all_the_same():
    async def run() -> None:
        async with open_scene() as scene:
            reader, writer = await scene.connect()
            await asyncio.sleep(2 * SILENCE_S)
            for request, expected in ((MARKED, b"laptop:0"), (GET, b"origin:0")):
                writer.write(request[:5])
                await asyncio.sleep(0.01)
                writer.write(request[5:])
                _, body = await read_response(reader)
                assert body == expected
            writer.close()

    asyncio.run(run())


def test_a_client_that_is_slow_and_speaks_no_http_has_the_origin():
    async def run() -> None:
        async with open_scene(lambda _: echo) as scene:
            reader, writer = await scene.connect()
            await asyncio.sleep(2 * SILENCE_S)
            writer.write(b"\x16\x03")
            assert await reader.readexactly(2) == b"\x16\x03"
            # Whatever it says from now on.
            writer.write(MARKED)
            assert await reader.readexactly(len(MARKED)) == MARKED
            writer.close()

    asyncio.run(run())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
