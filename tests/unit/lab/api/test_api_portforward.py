"""Port-forward over a WebSocket, as recorded from a real cluster."""

import asyncio
import hashlib
import os
import socket
import struct
import sys
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType
from apilab import LIMITED, build_pod, open_lab, run_pod

from ktnet.lab.api.authentication import MASTERS
from ktnet.lab.api.portforward import LINGER_S

POD = "/api/v1/namespaces/demo/pods/p"
SIZE = 8 << 20


@asynccontextmanager
async def serve(handle):
    """A server in the pod; gives its port."""

    async def connected(reader, writer):
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=SIZE)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def with_lab(scenario, **options):
    async def run():
        async with open_lab(**options) as lab:
            run_pod(lab.store, "p")
            await scenario(lab)

    asyncio.run(run())


@asynccontextmanager
async def forward(lab, *ports, **options):
    query = "&".join(f"ports={port}" for port in ports)
    async with lab.socket(f"{POD}/portforward?{query}", **options) as ws:
        yield ws


async def take(ws, channel):
    """The next message, which must be for that channel."""
    message = await ws.receive()
    assert message.type == WSMsgType.BINARY, message
    assert message.data[0] == channel
    return message.data[1:]


async def skip_ports(ws, *ports):
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            assert await take(ws, channel) == struct.pack("<H", port)


async def closed(ws):
    message = await ws.receive()
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1000)


def test_bytes_go_both_ways():
    async def scenario(lab):
        async with serve(echo) as port, forward(lab, port) as ws:
            assert ws.protocol == "v4.channel.k8s.io"
            await skip_ports(ws, port)
            for text in (b"abc\n", b"def\n"):
                await ws.send_bytes(b"\0" + text)
                assert await take(ws, 0) == text

    with_lab(scenario)


def test_a_closed_port_is_said_on_the_error_channel_and_ends_all():
    async def scenario(lab):
        port = closed_port()
        async with forward(lab, port) as ws:
            begun = time.monotonic()
            await skip_ports(ws, port)
            text = (await take(ws, 1)).decode()
            assert text.startswith(f"error forwarding port {port} to pod ")
            assert f"dial tcp4 127.0.0.1:{port}: connect: connection refused" in text
            await closed(ws)
            assert time.monotonic() - begun < LINGER_S / 2

    with_lab(scenario)


def test_the_pods_end_of_file_ends_the_websocket_a_second_later():
    async def scenario(lab):
        received = []

        async def greet(reader, writer):
            writer.write(b"bye\n")
            writer.write_eof()
            received.append(await reader.read(100))
            received.append(await reader.read(100))

        async with serve(greet) as port, forward(lab, port) as ws:
            await skip_ports(ws, port)
            assert await take(ws, 0) == b"bye\n"
            begun = time.monotonic()
            await ws.send_bytes(b"\0late")
            await closed(ws)
            assert LINGER_S * 0.8 < time.monotonic() - begun < LINGER_S * 2
            # The pod goes on hearing the client in that second, then it hears the end.
            assert received == [b"late", b""]

    with_lab(scenario)


def test_the_clients_close_reaches_the_pod_a_second_later():
    async def scenario(lab):
        ended = asyncio.get_running_loop().create_future()

        async def listen(reader, writer):
            data = await reader.read()
            ended.set_result((data, time.monotonic()))

        async with serve(listen) as port:
            async with forward(lab, port) as ws:
                await skip_ports(ws, port)
                await ws.send_bytes(b"\0abc")
            begun = time.monotonic()
            data, at = await ended
            assert data == b"abc"
            assert LINGER_S * 0.8 < at - begun < LINGER_S * 2

    with_lab(scenario)


def test_what_was_sent_before_the_close_still_reaches_the_pod():
    async def scenario(lab):
        ended = asyncio.get_running_loop().create_future()

        async def slowly(reader, writer):
            await asyncio.sleep(0.2)
            ended.set_result(len(await reader.read()))

        async with serve(slowly) as port:
            async with forward(lab, port) as ws:
                await skip_ports(ws, port)
                await ws.send_bytes(b"\0" + bytes(SIZE))
            assert await ended == SIZE

    with_lab(scenario)


def test_a_client_that_vanishes_is_as_one_that_closes():
    async def scenario(lab):
        ended = asyncio.get_running_loop().create_future()

        async def listen(reader, writer):
            ended.set_result(await reader.read())

        async with serve(listen) as port, forward(lab, port) as ws:
            await skip_ports(ws, port)
            await ws.send_bytes(b"\0abc")
            ws._response.connection.transport.abort()
            assert await ended == b"abc"

    with_lab(scenario)


def test_a_reset_in_the_pod_is_said_after_the_second():
    async def scenario(lab):
        async def reset(reader, writer):
            writer.write(b"then RST\n")
            await reader.read(1)
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        async with serve(reset) as port, forward(lab, port) as ws:
            await skip_ports(ws, port)
            assert await take(ws, 0) == b"then RST\n"
            await ws.send_bytes(b"\0x")
            assert (await take(ws, 1)).endswith(b"read: connection reset by peer")
            await closed(ws)

    with_lab(scenario)


def test_writing_to_a_pod_that_has_closed_breaks_at_once():
    async def scenario(lab):
        async def greet(reader, writer):
            writer.write(b"bye\n")

        async with serve(greet) as port, forward(lab, port) as ws:
            await skip_ports(ws, port)
            assert await take(ws, 0) == b"bye\n"
            begun = time.monotonic()
            for _ in range(2):
                await asyncio.sleep(0.1)
                await ws.send_bytes(b"\0late")
            assert (await take(ws, 1)).endswith(b"write: broken pipe")
            await closed(ws)
            assert time.monotonic() - begun < LINGER_S * 0.8

    with_lab(scenario)


@pytest.mark.parametrize("size", [32768, 1 << 20, SIZE])
def test_messages_of_any_size_go_up(size):
    async def scenario(lab):
        answer = asyncio.get_running_loop().create_future()

        async def swallow(reader, writer):
            digest = hashlib.sha256()
            left = SIZE
            while left:
                data = await reader.read(1 << 20)
                digest.update(data)
                left -= len(data)
            answer.set_result(digest.digest())

        payload = os.urandom(SIZE)
        async with serve(swallow) as port, forward(lab, port) as ws:
            await skip_ports(ws, port)
            for start in range(0, SIZE, size):
                await ws.send_bytes(b"\0" + payload[start : start + size])
            assert await answer == hashlib.sha256(payload).digest()

    with_lab(scenario)


def test_a_slow_reader_loses_nothing_and_frames_stay_small():
    async def scenario(lab):
        payload = os.urandom(SIZE)

        async def send(reader, writer):
            writer.write(payload)
            await writer.drain()

        async with serve(send) as port, forward(lab, port) as ws:
            await skip_ports(ws, port)
            received = bytearray()
            while len(received) < SIZE:
                if len(received) < SIZE // 50:
                    await asyncio.sleep(0.01)
                part = await take(ws, 0)
                assert 0 < len(part) <= 32768
                received += part
            assert received == payload
            await closed(ws)

    with_lab(scenario)


def test_a_pod_that_does_not_read_holds_the_client_back():
    async def scenario(lab):
        release = asyncio.Event()
        total = 64 << 20

        async def stall(reader, writer):
            await release.wait()
            left = total
            while left:
                left -= len(await reader.read(1 << 20))
            writer.write(b"all")

        async with serve(stall) as port, forward(lab, port) as ws:
            await skip_ports(ws, port)

            async def send():
                for _ in range(total >> 20):
                    await ws.send_bytes(b"\0" + bytes(1 << 20))

            sending = asyncio.ensure_future(send())
            done, _ = await asyncio.wait((sending,), timeout=0.5)
            assert not done
            release.set()
            await sending
            assert await take(ws, 0) == b"all"

    with_lab(scenario)


def test_two_ports_live_and_die_apart():
    async def scenario(lab):
        absent = closed_port()
        async with serve(echo) as port, forward(lab, absent, port) as ws:
            await skip_ports(ws, absent, port)
            assert (await take(ws, 1)).startswith(b"error forwarding port")
            await ws.send_bytes(b"\2second")
            assert await take(ws, 2) == b"second"

    with_lab(scenario)


def test_odd_messages_do_no_harm():
    async def scenario(lab):
        async with serve(echo) as port, forward(lab, f"{port},{port}") as ws:
            await skip_ports(ws, port, port)
            for message in (b"\5abc", b"\1to the error channel", b"\xff\0", b"", b"\0"):
                await ws.send_bytes(message)
            await ws.send_str("\2text")
            assert await take(ws, 2) == b"text"
            await ws.ping(b"p1")
            await ws.send_bytes(b"\0works?")
            assert await take(ws, 0) == b"works?"

    with_lab(scenario)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (f"{POD}/portforward", 400, 'query parameter "port" is required'),
        (f"{POD}/portforward?ports=0", 400, 'port "0" must be > 0'),
        (f"{POD}/portforward?ports=70000", 400, "value out of range"),
        (f"{POD}/portforward?ports=http", 400, 'parsing \\"http\\": invalid syntax'),
        ("/api/v1/namespaces/demo/pods/x/portforward?ports=1", 404, 'pods \\"x\\" not found'),
        ("/api/v1/namespaces/demo/pods/pending/portforward?ports=1", 400,
         "pod pending does not have a host assigned"),
        ("/api/v1/namespaces/demo/pods/over/portforward?ports=1", 500,
         'pod not found ("over_demo")'),
        ("/api/v1/namespaces/demo/pods/absent/portforward?ports=1", 500,
         'pod not found ("absent_demo")'),
    ],
)  # fmt: skip
def test_refusals_before_the_handshake(path, status, text):
    async def scenario(lab):
        lab.store.create("pods", "demo", build_pod("pending"))
        for name in ("over", "absent"):
            run_pod(lab.store, name)
        lab.store.patch(
            "pods", "demo", "over", {"status": {"phase": "Succeeded"}}, subresource="status"
        )
        lab.runtime.absent.add("absent")
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
        }
        found, body = await lab.ask("GET", path, headers=handshake, raw=True)
        assert (found, text in body.decode()) == (status, True), body

    with_lab(scenario)


@pytest.mark.parametrize(
    ("offered", "status", "chosen"),
    [
        (("v5.channel.k8s.io", "v4.channel.k8s.io"), 101, "v4.channel.k8s.io"),
        (("SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io"), 501, None),
        (("v4.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"), 501, None),
        (("v4.base64.channel.k8s.io",), 501, None),
        (("v5.channel.k8s.io",), 403, None),
        (("SPDY/3.1+portforward.k8s.io",), 501, None),
    ],
)
def test_subprotocols(offered, status, chosen):
    async def scenario(lab):
        async with serve(echo) as port:
            path = f"{POD}/portforward?ports={port}"
            if status == 101:
                async with lab.socket(path, *offered) as ws:
                    assert ws.protocol == chosen
                return
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with lab.socket(path, *offered):
                    pass
            assert refused.value.status == status

    with_lab(scenario)


def test_a_websocket_needs_the_right_to_create_too():
    def readers(user, wanted):
        return MASTERS in user.groups or wanted.verb == "get"

    async def scenario(lab):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with forward(lab, 80, token=LIMITED):
                pass
        assert refused.value.status == 403
        assert [entry.status for entry in lab.server.requests] == [403]

    with_lab(scenario, authorize=readers)


def test_sessions_end_with_the_server():
    async def scenario(lab):
        async with serve(echo) as port, forward(lab, port) as ws:
            await skip_ports(ws, port)
            lab.ws = ws

    begun = time.monotonic()
    with_lab(scenario)
    assert time.monotonic() - begun < 3


ENDLESS = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    connection, _ = server.accept()
    try:
        while True:
            connection.sendall(bytes(1 << 20))
    except OSError:
        pass
"""
"""A pod's process that sends until nobody takes it."""


def test_a_pod_that_sends_for_ever_keeps_nobody_else_from_being_served():
    async def scenario(lab):
        command = (sys.executable, "-c", ENDLESS)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            port = int(await process.stdout.readline())
            async with forward(lab, port) as ws:
                await skip_ports(ws, port)
                for _ in range(100):
                    await take(ws, 0)
                # The client vanishes, and the pod isn't told before the second is over.
                ws._response.connection.transport.abort()
                begun = time.monotonic()
                assert (await lab.ask("GET", POD))[0] == 200
                assert time.monotonic() - begun < LINGER_S / 2
            async with asyncio.timeout(10):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    with_lab(scenario)
