"""Much data and many flows through both real ends on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import time

import pytest
from tunnel_ends import echo, open_flow, open_target, open_tunnel, run, until

from ktnet.wire.window import LARGEST_BYTES

MIB = 1 << 20
SIZE_BYTES = 64 * MIB
BUSY_BYTES = 24 * MIB


def test_64_mib_up_arrives_unchanged(record_property):
    chunks = [bytes([n]) * 65536 for n in range(256)]
    digest = hashlib.sha256()
    count = SIZE_BYTES // 65536

    async def scenario():
        arrived = asyncio.get_running_loop().create_future()

        async def sink(sock):
            hashed, total = hashlib.sha256(), 0
            while data := await asyncio.get_running_loop().sock_recv(sock, 1 << 18):
                hashed.update(data)
                total += len(data)
            arrived.set_result((total, hashed.digest()))

        async with open_tunnel() as (link, _), open_target(sink) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            started = time.perf_counter()
            for n in range(count):
                await receiver.until(lambda r: not r.paused)
                flow.write(chunks[n % 256])
                digest.update(chunks[n % 256])
                if n % 4 == 0:
                    await asyncio.sleep(0)
            flow.write_eof()
            result = await arrived
            rate = SIZE_BYTES / MIB / (time.perf_counter() - started)
            assert await receiver.until_closed() == "end"
            return result, rate

    result, rate = run(scenario())
    record_property("up_mib_per_s", round(rate))
    print(f"up: {rate:.0f} MiB/s, both ends and both peers in one process")
    assert result == (SIZE_BYTES, digest.digest())


def test_64_mib_down_arrive_unchanged(record_property):
    chunk = bytes(range(256)) * 1024
    digest = hashlib.sha256(chunk * (SIZE_BYTES // len(chunk))).digest()

    async def scenario():
        async def source(sock):
            for _ in range(SIZE_BYTES // len(chunk)):
                await asyncio.get_running_loop().sock_sendall(sock, chunk)

        async with open_tunnel() as (link, _), open_target(source) as port:
            started = time.perf_counter()
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            await receiver.until(lambda r: r.eof, timeout_s=30)
            rate = SIZE_BYTES / MIB / (time.perf_counter() - started)
            flow.write_eof()
            assert await receiver.until_closed() == "end"
            return hashlib.sha256(receiver.data).digest(), rate

    result, rate = run(scenario())
    record_property("down_mib_per_s", round(rate))
    print(f"down: {rate:.0f} MiB/s, both ends and both peers in one process")
    assert result == digest


@pytest.mark.parametrize("way", ["up", "down"])
def test_many_that_are_silent_leave_one_that_is_busy_the_largest_window(way, ssh_path):
    """And its sender knows what is under way: growth isn't what has arrived."""
    if ssh_path == "asyncssh":
        pytest.skip("asyncssh's windows don't grow")

    async def scenario():
        async def peer(sock):
            loop = asyncio.get_running_loop()
            if way == "down" and await loop.sock_recv(sock, 1) == b"b":
                await loop.sock_sendall(sock, bytes(BUSY_BYTES))
            while await loop.sock_recv(sock, 1 << 18):
                pass

        async with open_target(peer) as port, open_tunnel() as (link, ends):
            for _ in range(100):
                await open_flow(link, port).until_open()
            receiver = open_flow(link, port)
            receiver.keep = False
            flow = await receiver.until_open()
            (server_side,) = ends.shadow.connections
            channels = [link._carrier._channels, server_side.get_extra_info("carrier")._channels]
            sender, taker = (each[max(each)] for each in (channels[:: 1 if way == "up" else -1]))
            assert taker._growth.window_bytes < LARGEST_BYTES // 10
            if way == "down":
                flow.write(b"b")
                await receiver.until(lambda r: r.received == BUSY_BYTES)
            else:
                for _ in range(BUSY_BYTES >> 16):
                    await receiver.until(lambda r: not r.paused)
                    flow.write(bytes(1 << 16))
                await until(lambda: not sender._unsent)
            await until(lambda: sender._window + taker._taken_bytes == taker._growth.window_bytes)
            assert taker._growth.window_bytes == LARGEST_BYTES
            # All has arrived, and the peer has been told of all but the last bytes.
            assert sender._pacer.in_flight == taker._taken_bytes
            flow.reset()

    run(scenario())


def test_1000_flows_at_once_each_echo():
    async def scenario():
        async with open_tunnel() as (link, ends), open_target(echo) as port:
            receivers = [open_flow(link, port) for _ in range(1000)]
            for receiver in receivers:
                await receiver.until_open()
            assert link.traffic.flows_open == 1000
            for n, receiver in enumerate(receivers):
                receiver.flow.write(b"%d;" % n * 100)
            for n, receiver in enumerate(receivers):
                await receiver.until(lambda r, n=n: len(r.data) == len(b"%d;" % n * 100))
                assert bytes(receiver.data) == b"%d;" % n * 100
                receiver.flow.write_eof()
            for receiver in receivers:
                assert await receiver.until_closed() == "end"
            await until(lambda: not link.traffic.flows_open and not ends.shadow.flows)

    run(scenario())
