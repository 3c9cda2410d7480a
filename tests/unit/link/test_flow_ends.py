"""How flows open, fail to open, and end: both ends real, on loopback."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest
from tunnel_ends import ORIGIN, Recorder, echo, open_flow, open_target, open_tunnel, run, until

from ktnet.errors import LocalProtocolError
from ktnet.wire.flow import OpenFailure
from ktnet.wire.shadow import PROBE_HOST


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def reset(sock: socket.socket) -> None:
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_closed_port_is_refused_at_once():
    async def scenario():
        async with open_tunnel() as (link, _):
            started = time.monotonic()
            failure = await open_flow(link, free_port()).until_failed()
            assert failure is OpenFailure.REFUSED
            assert time.monotonic() - started < 0.05
            assert link.traffic.flows_failed == 1

    run(scenario())


def test_failed_openings_leave_nothing():
    async def scenario():
        async with open_tunnel() as (link, ends):
            for _ in range(100):
                await open_flow(link, free_port()).until_failed()
            await until(lambda: not channels(link._connection))
            assert link._windows.take() == ends.shadow.windows.take() == 4 << 20

    run(scenario())


def test_servers_that_speak_first_are_heard():
    async def greet(sock):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"220 hello")
        await loop.sock_recv(sock, 1)

    async def scenario():
        async with open_tunnel() as (link, _), open_target(greet) as port:
            receivers = [open_flow(link, port) for _ in range(200)]
            for receiver in receivers:
                flow = await receiver.until_open()
                await receiver.until(lambda r: r.data == b"220 hello")
                flow.reset()

    run(scenario())


@pytest.mark.parametrize(
    ("host", "port", "failure"),
    [
        ("no..name", 80, OpenFailure.UNKNOWN_NAME),
        ("x" * 64, 80, OpenFailure.UNKNOWN_NAME),
        ("nul\0l", 80, OpenFailure.UNKNOWN_NAME),
        ("", 80, OpenFailure.UNKNOWN_NAME),
        ("127.0.0.1", 0, OpenFailure.REFUSED),
        ("127.0.0.1", 65536, OpenFailure.REFUSED),
        ("127.0.0.1", 2**32 - 1, OpenFailure.REFUSED),
    ],
)
def test_odd_targets_fail_with_a_cause_and_harm_nothing(host, port, failure):
    async def scenario():
        async with open_tunnel() as (link, _):
            assert await open_flow(link, port, host).until_failed() is failure
            assert link.closed is None
            assert await link.round_trip() < 1

    run(scenario())


def test_names_are_resolved_by_the_far_side():
    async def scenario():
        async with open_tunnel() as (link, _), open_target(echo) as port:
            flow = await open_flow(link, port, "localhost").until_open()
            flow.reset()

    run(scenario())


def test_the_probe_echoes_and_ends():
    async def scenario():
        async with open_tunnel() as (link, _):
            receiver = open_flow(link, 1, PROBE_HOST)
            flow = await receiver.until_open()
            flow.write(memoryview(b"ping"))
            await receiver.until(lambda r: r.data == b"ping")
            flow.write_eof()
            assert await receiver.until_closed() == "end"
            assert receiver.eof

    run(scenario())


def test_client_ends_its_half_first():
    async def read_all_then_answer(sock):
        loop = asyncio.get_running_loop()
        total = 0
        while data := await loop.sock_recv(sock, 65536):
            total += len(data)
        await loop.sock_sendall(sock, b"got %d" % total)

    async def scenario():
        async with open_tunnel() as (link, ends), open_target(read_all_then_answer) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            flow.write(b"x" * 100_000)
            flow.write_eof()
            assert await receiver.until_closed() == "end"
            assert receiver.data == b"got 100000"
            assert receiver.eof
            await until(lambda: not ends.shadow.flows)

    run(scenario())


def test_target_ends_its_half_first():
    async def scenario():
        received = asyncio.get_running_loop().create_future()

        async def say_then_listen(sock):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, b"hello")
            sock.shutdown(socket.SHUT_WR)
            data = bytearray()
            while more := await loop.sock_recv(sock, 65536):
                data += more
            received.set_result(bytes(data))

        async with open_tunnel() as (link, ends), open_target(say_then_listen) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            await receiver.until(lambda r: r.eof)
            assert receiver.data == b"hello"
            assert receiver.end is None
            flow.write(b"still here")
            flow.write_eof()
            assert receiver.end is None  # never from within our own call
            assert await received == b"still here"
            assert await receiver.until_closed() == "end"
            await until(lambda: not ends.shadow.flows)

    run(scenario())


def test_writing_after_eof_is_our_own_fault():
    async def scenario():
        async with open_tunnel() as (link, _), open_target(echo) as port:
            flow = await open_flow(link, port).until_open()
            flow.write_eof()
            with pytest.raises(LocalProtocolError):
                flow.write(b"x")

    run(scenario())


def test_reset_by_the_target_arrives_as_reset():
    async def read_one_then_reset(sock):
        await asyncio.get_running_loop().sock_recv(sock, 1)
        reset(sock)

    async def scenario():
        async with open_tunnel() as (link, ends), open_target(read_one_then_reset) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            flow.write(b"x")
            assert await receiver.until_closed() == "reset"
            assert not receiver.eof
            flow.write(b"into the void")  # the near side may not have looked yet
            await until(lambda: not ends.shadow.flows)

    run(scenario())


def test_reset_by_the_target_after_our_eof_arrives_as_reset():
    async def read_all_then_reset(sock):
        while await asyncio.get_running_loop().sock_recv(sock, 65536):
            pass
        reset(sock)

    async def scenario():
        async with open_tunnel() as (link, _), open_target(read_all_then_reset) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            flow.write_eof()
            assert await receiver.until_closed() == "reset"

    run(scenario())


def test_reset_by_the_client_reaches_the_target_as_reset():
    async def scenario():
        outcome = asyncio.get_running_loop().create_future()

        async def see(sock):
            try:
                outcome.set_result(await asyncio.get_running_loop().sock_recv(sock, 1))
            except OSError as error:
                outcome.set_result(error)

        async with open_tunnel() as (link, ends), open_target(see) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            flow.reset()
            assert isinstance(await outcome, ConnectionResetError)
            await until(lambda: not ends.shadow.flows and not link.traffic.flows_open)
            assert receiver.end is None  # who resets is not told

    run(scenario())


def test_an_orderly_end_is_no_reset_for_the_target():
    async def scenario():
        outcome = asyncio.get_running_loop().create_future()

        async def see(sock):
            loop = asyncio.get_running_loop()
            sock.shutdown(socket.SHUT_WR)
            outcome.set_result([await loop.sock_recv(sock, 9), await loop.sock_recv(sock, 9)])

        async with open_tunnel() as (link, _), open_target(see) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            await receiver.until(lambda r: r.eof)
            flow.write(b"bye")
            flow.write_eof()
            assert await outcome == [b"bye", b""]
            assert await receiver.until_closed() == "end"

    run(scenario())


def test_an_end_that_comes_while_nobody_reads_is_still_an_end():
    async def say_and_end(sock):
        loop = asyncio.get_running_loop()
        await loop.sock_recv(sock, 1)
        await loop.sock_sendall(sock, b"x" * 50_000)
        sock.shutdown(socket.SHUT_WR)
        await loop.sock_recv(sock, 1)

    async def scenario():
        async with open_tunnel() as (link, ends), open_target(say_and_end) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            flow.pause_reading()
            flow.write(b"x")
            flow.write_eof()
            # Data, EOF and CLOSE have all come in when the shadow's flow is gone.
            await until(lambda: not ends.shadow.flows)
            await link.round_trip()
            assert receiver.end is None
            flow.resume_reading()
            assert receiver.received == 0  # never from within our own call
            assert await receiver.until_closed() == "end"
            assert receiver.received == 50_000
            assert receiver.eof

    run(scenario())


def test_a_reset_that_comes_while_nobody_reads_is_told_at_once():
    async def say_and_reset(sock):
        loop = asyncio.get_running_loop()
        await loop.sock_recv(sock, 1)
        await loop.sock_sendall(sock, b"x" * 50_000)
        await loop.sock_recv(sock, 1)
        reset(sock)

    async def scenario():
        async with open_tunnel() as (link, _), open_target(say_and_reset) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            flow.pause_reading()
            flow.write(b"1")
            await link.round_trip()
            flow.write(b"2")
            assert await receiver.until_closed() == "reset"
            await until(lambda: not link.traffic.flows_open)

    run(scenario())


def test_eof_behind_data_that_waits_for_the_window_gets_through():
    async def scenario():
        go_on = asyncio.Event()
        received = asyncio.get_running_loop().create_future()

        async def late_reader(sock):
            loop = asyncio.get_running_loop()
            sock.shutdown(socket.SHUT_WR)  # so that both halves have ended when ours has
            await go_on.wait()
            total = 0
            while data := await loop.sock_recv(sock, 1 << 18):
                total += len(data)
            received.set_result(total)

        async with open_tunnel() as (link, _), open_target(late_reader) as port:
            receiver = open_flow(link, port)
            flow = await receiver.until_open()
            await receiver.until(lambda r: r.eof)
            sent = 0
            while not receiver.paused or sent < 8 << 20:
                flow.write(bytes(1 << 18))
                sent += 1 << 18
                await asyncio.sleep(0)
            flow.write_eof()
            go_on.set()
            assert await received == sent
            assert await receiver.until_closed() == "end"

    run(scenario())


def test_an_opening_given_up_is_told_nothing_and_leaves_nothing():
    async def scenario():
        seen = []

        async def see(sock):
            try:
                seen.append(await asyncio.get_running_loop().sock_recv(sock, 1))
            except OSError as error:
                seen.append(error)

        async with open_tunnel() as (link, ends), open_target(see) as port:
            receivers = [Recorder() for _ in range(100)]
            for receiver in receivers:
                link.open_tcp("127.0.0.1", port, ORIGIN, receiver).cancel()
            await until(lambda: len(seen) == 100)
            await until(lambda: not link.traffic.flows_open and not ends.shadow.flows)
            assert all(isinstance(error, ConnectionResetError) for error in seen)
            assert all(r.flow is None and r.failure is None for r in receivers)
            assert link.traffic.flows_opened == 100
            # Nothing is left in asyncssh at either end, nor of the windows' budget.
            await until(lambda: not channels(link._connection))
            (server_side,) = ends.shadow.connections
            await until(lambda: not channels(server_side))
            assert link._windows.take() == ends.shadow.windows.take() == 4 << 20

    run(scenario())


def test_a_refused_opening_given_up_is_told_nothing():
    async def scenario():
        async with open_tunnel() as (link, _):
            receiver = Recorder()
            link.open_tcp("127.0.0.1", free_port(), ORIGIN, receiver).cancel()
            await until(lambda: link.traffic.flows_failed == 1)
            assert receiver.failure is None

    run(scenario())


def test_leaving_the_link_resets_what_is_open():
    async def scenario():
        outcome = asyncio.get_running_loop().create_future()

        async def see(sock):
            try:
                outcome.set_result(await asyncio.get_running_loop().sock_recv(sock, 1))
            except OSError as error:
                outcome.set_result(error)

        async with open_target(see) as port:
            async with open_tunnel() as (link, _):
                receiver = open_flow(link, port)
                await receiver.until_open()
            assert receiver.end == "reset"
            assert isinstance(await outcome, ConnectionResetError)

    run(scenario())


def channels(connection) -> dict:
    return connection._channels
