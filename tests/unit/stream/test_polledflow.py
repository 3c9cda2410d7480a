"""A socket beside a flow: what the other side does at the worst moment stays its own affair."""

import asyncio
import contextlib
import socket
import struct

import pytest

from ktnet.stream.loop import run as run_on_ours
from ktnet.stream.polledflow import HIGH_BYTES, PolledFlow
from ktnet.stream.polling import READ_BYTES, get_poller
from ktnet.stream.target import connect_target, relay

TCP_CLOSE = 7
"""Of include/net/tcp_states.h, the first octet of TCP_INFO."""

RESET = struct.pack("ii", 1, 0)


@pytest.fixture(params=[asyncio.run, run_on_ours], ids=["asyncio", "ours"])
def run_loop(request):
    """Sockets are polled by the loop itself, and below one that is asyncio's own."""
    return request.param


class FlowRecord:
    """A flow that notes what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def write(self, data: bytes) -> None:
        self.said.append(bytes(data).decode())

    def write_eof(self) -> None:
        self.said.append("eof")

    def reset(self) -> None:
        self.said.append("reset")


class Hearing:
    """A receiver that notes what it hears; with `takes_views` it is given views."""

    takes_views = True

    def __init__(self) -> None:
        self.data = bytearray()
        self.said: list[str] = []

    def data_received(self, data) -> None:
        assert isinstance(data, memoryview)
        self.data += data

    def eof_received(self) -> None:
        self.said.append("eof")

    def closed(self, *, reset: bool) -> None:
        self.said.append("reset" if reset else "end")

    def pause_writing(self) -> None:
        self.said.append("wait")

    def resume_writing(self) -> None:
        self.said.append("go on")


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.contextmanager
def connect():
    """(the other side's socket, our flow), nothing of which is read yet."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as other,
    ):
        ours, _ = server.accept()
        ours.setblocking(False)
        flow = PolledFlow(ours, get_poller())
        flow.register()
        try:
            yield other, flow
        finally:
            flow.reset()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def test_a_target_that_has_closed_both_halves_is_no_error_of_the_flow(run_loop) -> None:
    """FIN, and RST before our own end: nothing is read any more then."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            receiver, flow = relay(await connect_target(*server.getsockname()[:2])), FlowRecord()
            accepted, _ = server.accept()
            receiver.opened(flow)
            accepted.sendall(b"bye")
            accepted.shutdown(socket.SHUT_WR)
            await until(lambda: flow.said == ["bye", "eof"])
            reset(accepted)
            receiver.eof_received()
            receiver.closed(reset=False)
            await asyncio.sleep(0)
            assert flow.said == ["bye", "eof"]

    run_loop(run())


@pytest.mark.parametrize("count", [1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 5 * READ_BYTES])
def test_all_bytes_and_the_end_arrive_whatever_came_together(run_loop, count: int) -> None:
    async def run() -> None:
        with connect() as (other, flow):
            hearing = Hearing()
            flow.attach(hearing)
            sent = bytes(range(251)) * (count // 251 + 1)
            sending = asyncio.to_thread(send_and_end, other, sent[:count])
            await asyncio.gather(sending, resume_later(flow))
            await until(lambda: hearing.said == ["eof"])
            assert hearing.data == sent[:count]
            flow.write(b"and back")
            flow.write_eof()
            await until(lambda: hearing.said == ["eof", "end"])
            assert other.recv(100) == b"and back"
            assert other.recv(100) == b""

    run_loop(run())


def send_and_end(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


async def resume_later(flow: PolledFlow) -> None:
    await asyncio.sleep(0.01)  # so that the event comes while nobody wants to read
    flow.resume_reading()


def test_nothing_is_read_while_that_is_not_wanted(run_loop) -> None:
    async def run() -> None:
        with connect() as (other, flow):
            hearing = Hearing()
            flow.attach(hearing)
            flow.resume_reading()
            other.sendall(b"one")
            await until(lambda: hearing.data == b"one")
            flow.pause_reading()
            other.sendall(b"two")
            await asyncio.sleep(0.02)
            assert hearing.data == b"one"
            flow.resume_reading()
            await until(lambda: hearing.data == b"onetwo")

    run_loop(run())


def test_a_reset_is_told_at_once_also_to_who_reads_nothing(run_loop) -> None:
    async def run() -> None:
        with connect() as (other, flow):
            hearing = Hearing()
            flow.attach(hearing)
            reset(other)
            await until(lambda: hearing.said == ["reset"])
            flow.write(b"to nobody")
            flow.write_eof()
            await asyncio.sleep(0)
            assert hearing.said == ["reset"]

    run_loop(run())


def test_what_came_before_a_reset_is_read_first(run_loop) -> None:
    async def run() -> None:
        with connect() as (other, flow):
            hearing = Hearing()
            flow.attach(hearing)
            other.sendall(b"last words")
            reset(other)
            await asyncio.sleep(0.02)
            assert hearing.said == []
            flow.resume_reading()
            await until(lambda: hearing.said == ["reset"])
            assert hearing.data == b"last words"

    run_loop(run())


def test_what_the_kernel_does_not_take_is_kept_and_the_sender_told(run_loop) -> None:
    async def run() -> None:
        with connect() as (other, flow):
            hearing = Hearing()
            flow.attach(hearing)
            block = bytes(range(256)) * 256
            written = bytearray()
            while not hearing.said:
                flow.write(block)
                written += block
            flow.write(b"more")
            written += b"more"
            flow.write_eof()
            assert hearing.said == ["wait"]
            got = await asyncio.to_thread(read_all, other)
            assert got == written
            assert hearing.said == ["wait", "go on"]
            assert len(written) > HIGH_BYTES

    run_loop(run())


def read_all(sock: socket.socket) -> bytes:
    got = bytearray()
    while data := sock.recv(1 << 16):
        got += data
    return bytes(got)


def test_a_target_that_goes_away_before_the_channel_is_open_resets_it(run_loop) -> None:
    async def run() -> None:
        with connect() as (other, flow):
            receiver, far = relay(flow), FlowRecord()
            reset(other)
            await asyncio.sleep(0.02)
            receiver.opened(far)
            await until(lambda: far.said == ["reset"])

    run_loop(run())
