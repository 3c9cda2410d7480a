"""A local port whose connections are flows, between real sockets."""

import asyncio
import errno
import socket
import struct
from contextlib import asynccontextmanager

import pytest

from ktnet.stream import accepting
from ktnet.stream.batch import call_last, call_soon, run_batch
from ktnet.stream.listener import open_listener
from ktnet.stream.loop import run as run_loop
from ktnet.stream.target import SocketOpening
from ktnet.wire.flow import OpenFailure


class Here:
    """A Dialer whose far side is this machine."""

    def open_tcp(self, host, port, _origin, receiver):
        return SocketOpening(host, port, receiver)


class Never:
    """A Dialer that takes its time, and notes who gives up."""

    def __init__(self):
        self.asked = 0
        self.given_up = asyncio.Event()

    def open_tcp(self, _host, _port, _origin, _receiver):
        self.asked += 1
        return self

    def cancel(self):
        self.given_up.set()


@asynccontextmanager
async def open_echo():
    async def handle(reader, writer):
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def ask(port, question):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(question)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_many_at_once_each_get_their_own():
    async def run():
        async with open_echo() as there, open_listener("127.0.0.1", 0, Here(), there) as port:
            questions = [b"%d " % number * 1000 for number in range(200)]
            answers = await asyncio.gather(*(ask(port, each) for each in questions))
            assert answers == [each + b"bye" for each in questions]

    run_loop(run())


def test_a_name_is_listened_on_and_dialled():
    async def run():
        async with (
            open_echo() as (_, there),
            open_listener("localhost", 0, Here(), ("localhost", there)) as port,
        ):
            assert await ask(port, b"hello ") == b"hello bye"

    run_loop(run())


def test_a_refusal_is_told_and_seen_as_a_reset():
    async def run():
        failures = []
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and nobody listens there
            async with open_listener(
                "127.0.0.1", 0, Here(), taken.getsockname(), failures.append
            ) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                writer.close()
        assert failures == [OpenFailure.REFUSED]

    run_loop(run())


def test_who_leaves_before_the_flow_is_there_gives_it_up():
    async def run():
        dialer = Never()
        async with open_listener("127.0.0.1", 0, dialer, ("10.0.0.1", 80)) as port:
            sock = socket.create_connection(("127.0.0.1", port))
            async with asyncio.timeout(10):
                while not dialer.asked:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                await dialer.given_up.wait()

    run_loop(run())


def test_without_descriptors_it_waits_for_some(monkeypatch):
    """The queue of connections stays readable meanwhile; the loop must not spin."""
    monkeypatch.setattr(accepting, "SHORTAGE_PAUSE_S", 0.05)
    monkeypatch.setattr(accepting, "MOST_AT_ONCE", 1)

    class Short(socket.socket):
        tries = 0

        def accept(self):
            Short.tries += 1
            if Short.tries <= 2:
                raise OSError(errno.EMFILE, "too many")
            return super().accept()

    async def run():
        accepted = []
        listening = accepting.listen(socket.AF_INET, "127.0.0.1", 0)
        acceptor = accepting.Acceptor(
            Short(fileno=listening.detach()), lambda sock, _peer: accepted.append(sock)
        )
        with socket.create_connection(("127.0.0.1", acceptor.port)):
            async with asyncio.timeout(10):
                while not accepted:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        acceptor.close()
        accepted[0].close()
        assert Short.tries == 3

    run_loop(run())


def test_what_is_left_for_later_is_done_in_order_and_once():
    async def run():
        said, failed = [], []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))

        def last():
            said.append("last")

        def fail():
            raise ValueError

        def work():
            assert call_last(last)
            assert call_last(last)
            call_soon(fail)
            call_soon(said.append, "soon")
            run_batch(said.append, "within")
            said.append("work")

        run_batch(work)
        assert said == ["within", "work", "soon", "last"]
        assert [type(error) for error in failed] == [ValueError]
        assert not call_last(last)
        call_soon(said.append, "next turn")
        await asyncio.sleep(0)
        assert said[4:] == ["next turn"]

    run_loop(run())
