"""Connections that come about, as applications see them: real sockets on a real TUN."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct

import pytest
from capture_scene import (
    CLUSTER,
    DISCARD,
    ECHO,
    ENDS_AT_ONCE,
    HOLDS,
    RESETS_AT_DATA,
    SOURCE,
    STOPPED,
    FarFlow,
    FarSide,
    Tun,
    in_namespace,
)
from capture_sockets import connected, receive, send, until

from ktnet.capture.budget import LARGEST_SHARE_BYTES
from ktnet.capture.engine import open_capture

pytestmark = pytest.mark.lab


@in_namespace
async def test_echo():
    with Tun() as fd:
        far = FarSide()
        async with open_capture(fd, far) as capture:
            async with connected(ECHO) as sock:
                await send(sock, b"hello")
                assert await receive(sock, 5) == b"hello"
                sock.shutdown(socket.SHUT_WR)
                assert await receive(sock, 1) == b""
                local = sock.getsockname()
            assert far.dialled == [(CLUSTER, ECHO, local)]
            assert capture.counters.bytes_up == capture.counters.bytes_down == 5
            assert capture.counters.packets_dropped == 0
            await until(lambda: not capture.counters.flows_open)
            assert capture.counters.flows_reset == 0
            assert far.flows[0].events == ["eof", "ended"]


@in_namespace
async def test_the_application_ends_and_goes_on_reading():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far), connected(HOLDS) as sock:
            await send(sock, b"request")
            sock.shutdown(socket.SHUT_WR)
            (flow,) = far.flows
            await flow.wait_for("eof")
            assert flow.received == 7
            flow.receiver.data_received(b"answer" * 50_000)
            flow.end()
            assert await receive(sock, 1_000_000) == b"answer" * 50_000
            assert "reset" not in flow.events


@in_namespace
async def test_the_far_side_ends_and_goes_on_reading():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far) as capture:
            async with connected(ENDS_AT_ONCE) as sock:
                assert await receive(sock, 1) == b""
                await send(sock, b"x" * 300_000)
                sock.shutdown(socket.SHUT_WR)
                (flow,) = far.flows
                await flow.wait_for("eof")
                assert flow.received == 300_000
            await until(lambda: not capture.counters.flows_open)  # a second in TIME_WAIT
            assert "reset" not in flow.events


@in_namespace
async def test_a_reset_of_the_far_side_arrives():
    with Tun() as fd:
        async with open_capture(fd, FarSide()), connected(RESETS_AT_DATA) as sock:
            await send(sock, b"x")
            with pytest.raises(ConnectionResetError):
                await receive(sock, 1)


@in_namespace
async def test_a_reset_of_the_application_arrives():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far) as capture:
            async with connected(HOLDS) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await far.flows[0].wait_for("reset")
            async with connected(HOLDS) as sock:
                far.flows[1].receiver.data_received(b"never read")
                await asyncio.get_running_loop().sock_recv_into(sock, bytearray(1))
            await far.flows[1].wait_for("reset")
            assert "eof" not in far.flows[1].events
            assert capture.counters.flows_open == 0
            assert capture.counters.flows_reset == 2


@in_namespace
async def test_a_thousand_connections_at_once():
    count = 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    with Tun() as fd:
        far = FarSide()
        async with open_capture(fd, far) as capture, contextlib.AsyncExitStack() as stack:
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with asyncio.TaskGroup() as tasks:
                opening = [
                    tasks.create_task(stack.enter_async_context(connected(ECHO)))
                    for _ in range(count)
                ]
            socks = [task.result() for task in opening]
            opened_s = loop.time() - began
            assert capture.counters.flows_open == count
            for number, sock in enumerate(socks):
                sock.send(struct.pack("!I", number) * 100)
            for number, sock in enumerate(socks):
                assert await receive(sock, 400) == struct.pack("!I", number) * 100
            print(f"{count} connections in {opened_s:.2f} s")
            assert opened_s < 10


@in_namespace
async def test_an_upload_waits_while_the_far_side_takes_nothing():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far), connected(STOPPED) as sock:
            sent = 0
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(0.3):
                        await asyncio.get_running_loop().sock_sendall(sock, bytes(10_000))
                    sent += 10_000
            (flow,) = far.flows
            # Its own buffer apart, the kernel got rid of no more than the window.
            assert flow.received < 2 * LARGEST_SHARE_BYTES
            sock.setblocking(False)
            flow.receiver.resume_writing()
            await send(sock, b"the end")
            sock.shutdown(socket.SHUT_WR)
            await flow.wait_for("eof")
            assert sent <= flow.received <= sent + 10_007


@in_namespace
async def test_a_download_waits_while_the_application_reads_nothing():
    far = FarSide()
    FarFlow.SOURCE_BYTES = 64 * 1024 * 1024
    with Tun() as fd:
        async with open_capture(fd, far), connected(SOURCE) as sock:
            (flow,) = far.flows
            await flow.wait_for("pause")
            before = flow.sent
            await asyncio.sleep(0.3)
            assert flow.sent == before < FarFlow.SOURCE_BYTES
            received = 0
            while data := await receive(sock, 1 << 20):
                received += len(data)
            assert received == FarFlow.SOURCE_BYTES
            sock.shutdown(socket.SHUT_WR)
            await flow.wait_for("eof")


@in_namespace
async def test_keepalives_are_answered():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far), connected(ECHO) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                sock.setsockopt(socket.IPPROTO_TCP, option, 1)
            await asyncio.sleep(3.5)
            await send(sock, b"x")
            assert await receive(sock, 1) == b"x"


@in_namespace
async def test_small_writes_in_order():
    with Tun() as fd:
        async with open_capture(fd, FarSide()), connected(ECHO) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            expected = b"".join(struct.pack("!H", number) for number in range(20_000))
            async with asyncio.TaskGroup() as tasks:
                echoed = tasks.create_task(receive(sock, len(expected)))
                for position in range(0, len(expected), 7):
                    await send(sock, expected[position : position + 7])
            assert echoed.result() == expected


@in_namespace
async def test_many_discards_leave_nothing():
    with Tun() as fd:
        far = FarSide()
        async with open_capture(fd, far) as capture:

            async def one() -> None:
                async with connected(DISCARD) as sock:
                    await send(sock, b"x")
                    sock.shutdown(socket.SHUT_WR)
                    assert await receive(sock, 1) == b""

            for _ in range(20):
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(50):
                        tasks.create_task(one())
            await until(lambda: not capture.counters.flows_open)
            assert capture.counters.flows_total == 1000
            assert capture.counters.flows_reset == 0
            assert {tuple(flow.events) for flow in far.flows} == {("eof", "ended")}
