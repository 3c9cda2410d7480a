"""Slow readers at any place hold up their senders, and memory stays bounded meanwhile."""

from __future__ import annotations

import asyncio
import hashlib

from tunnel_ends import Cable, open_flow, open_shadow, open_target, open_tunnel, run, until

from ktnet.wire.congestion import HIGH_BYTES
from ktnet.wire.window import LARGEST_BYTES

MIB = 1 << 20
KERNEL_BYTES = 16 * MIB
"""What sockets on loopback may hold between two ends that don't read."""


async def fill(receiver, most_bytes):
    """Write until told to pause; what was taken."""
    sent = 0
    while not receiver.paused:
        receiver.flow.write(bytes(65536))
        sent += 65536
        assert sent <= most_bytes
        await asyncio.sleep(0)
    return sent


def test_a_target_that_does_not_read_pauses_the_client():
    async def scenario():
        go_on = asyncio.Event()
        received = asyncio.get_running_loop().create_future()

        async def late(sock):
            await go_on.wait()
            total = 0
            while data := await asyncio.get_running_loop().sock_recv(sock, 1 << 18):
                total += len(data)
            received.set_result(total)

        async with open_tunnel() as (link, _), open_target(late) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            sent = 0
            # Paused for good means: the channel's window and the sockets are full.
            for _ in range(50):
                sent += await fill(receiver, LARGEST_BYTES * 2 + KERNEL_BYTES)
                await asyncio.sleep(0.01)
            assert sent <= LARGEST_BYTES * 2 + KERNEL_BYTES
            assert receiver.paused
            assert await link.round_trip() < 1  # the other flows don't notice
            go_on.set()
            await receiver.until(lambda r: not r.paused)
            flow.write_eof()
            assert await received == sent

    run(scenario())


def test_a_client_that_does_not_read_stops_the_target():
    async def scenario():
        sent = 0

        async def source(sock):
            nonlocal sent
            for _ in range(64 * 16):
                await asyncio.get_running_loop().sock_sendall(sock, bytes(65536))
                sent += 65536

        async with open_tunnel() as (link, _), open_target(source) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            flow.pause_reading()
            before = -1
            while sent != before:  # until it moves no more
                before = sent
                await asyncio.sleep(0.1)
            assert sent <= LARGEST_BYTES * 2 + KERNEL_BYTES
            assert receiver.received <= LARGEST_BYTES  # what was on its way
            flow.resume_reading()
            await receiver.until(lambda r: r.eof, timeout_s=30)
            assert receiver.received == 64 * MIB

    run(scenario())


def test_a_tunnel_that_takes_nothing_pauses_all_who_write_and_serves_them_in_turn():
    async def scenario():
        totals = {}

        async def sink(sock):
            loop = asyncio.get_running_loop()
            name = await loop.sock_recv(sock, 1)
            hashed = hashlib.sha256(name)
            while data := await loop.sock_recv(sock, 1 << 18):
                hashed.update(data)
            totals[name] = hashed.digest()

        async with (
            open_shadow() as ends,
            Cable(ends.port).laid() as cable,
            ends.attach(cable.dial) as link,
            open_target(sink) as port,
        ):
            receivers = [open_flow(link, port) for _ in range(50)]
            for n, receiver in enumerate(receivers):
                (await receiver.until_open()).write(bytes([n]))
            await link.round_trip()
            cable.stop()
            hashes = [hashlib.sha256(bytes([n])) for n in range(50)]
            transport = link._connection._transport

            def write(n):
                piece = bytes([n]) * 65536
                receivers[n].flow.write(piece)
                hashes[n].update(piece)

            while not all(r.paused for r in receivers):
                for n, receiver in enumerate(receivers):
                    if not receiver.paused:
                        write(n)
                await asyncio.sleep(0)
            # Each may have written once more, not each a window of 4 MiB.
            assert transport.get_write_buffer_size() <= HIGH_BYTES + 51 * 66000
            cable.go_on()
            for n, receiver in enumerate(receivers):
                await receiver.until(lambda r: not r.paused)
                write(n)
                receiver.flow.write_eof()
            await until(lambda: len(totals) == 50)
            assert totals == {bytes([n]): hashes[n].digest() for n in range(50)}

    run(scenario())


def test_the_shadow_holds_targets_back_when_the_tunnel_takes_nothing():
    async def scenario():
        sent = 0

        async def source(sock):
            nonlocal sent
            while True:
                await asyncio.get_running_loop().sock_sendall(sock, bytes(65536))
                sent += 65536

        async with (
            open_shadow() as ends,
            Cable(ends.port).laid() as cable,
            ends.attach(cable.dial) as link,
        ):
            cable.stop()
            async with asyncio.timeout(20), open_target(source) as port:
                cable.go_on()
                receivers = [open_flow(link, port) for _ in range(30)]
                for receiver in receivers:
                    receiver.keep = False
                    await receiver.until_open()
                cable.stop()
                before = -1
                while sent != before:
                    before = sent
                    await asyncio.sleep(0.2)
                (server_side,) = ends.shadow.connections
                buffered = server_side._transport.get_write_buffer_size()
                # Each target may have given one read of 256 KiB more; not 30 windows of 4 MiB.
                assert 0 < buffered <= HIGH_BYTES + 31 * 270_000
                for receiver in receivers:
                    receiver.flow.reset()
                cable.cut()
                await until(lambda: not ends.shadow.flows)

    run(scenario())
