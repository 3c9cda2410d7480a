"""A laptop that falls silent, or goes, while requests are on their way to it."""

import asyncio
import contextlib
from contextlib import asynccontextmanager

import pytest
from http2_scene import Client, serve_h2
from router_scene import LIMIT_S, Server, cut, read_response, serve

from ktnet.shadow.destinations import Origin
from ktnet.shadow.log import EventLog
from ktnet.shadow.mesh.members import Members
from ktnet.shadow.router.listener import Expected, open_router_port
from ktnet.shadow.router.table import Table
from ktnet.wire.meshmark import MOST_MISSED, Registration

MARK = b"GET / HTTP/1.1\r\nHost: t\r\nversion: alice\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: t\r\nversion: alice\r\nContent-Length: 2\r\n\r\nhi"


class Connection:
    """A laptop's, to the router."""

    is_gone = False
    heard_s = 0.0

    def abandon(self):
        self.is_gone = True


class Nowhere:
    """A tunnel that has fallen silent: nothing is ever opened."""

    def __init__(self):
        self.asked = asyncio.Event()
        self.cancelled = 0

    def open(self, _peer, _receiver):
        self.asked.set()
        return self

    def cancel(self):
        self.cancelled += 1


class Scene:
    def __init__(self, members, membership, port, laptop):
        self.members, self.membership, self.port, self.laptop = members, membership, port, laptop

    def fall_silent(self):
        for _ in range(MOST_MISSED + 1):
            self.membership.miss()

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port.number)


class Mute(Server):
    """Takes requests and answers none."""

    def __init__(self):
        super().__init__("laptop")
        self.asked = asyncio.Event()
        self.writers = []

    async def serve(self, reader, writer):
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.received += data
                self.asked.set()


@asynccontextmanager
async def open_silent_scene(serve_origin, destination=None):
    """Alice's laptop is a Mute, or what leads to her is `destination`."""
    origin, laptop = Server("origin"), Mute()
    handler = origin.serve_http if serve_origin is None else serve_origin
    async with serve(origin, handler), serve(laptop, laptop.serve):
        table = Table(Origin("127.0.0.1", origin.port))
        members = Members({80: table}, EventLog("key", lambda _: None), 60)
        leads = destination or Origin("127.0.0.1", laptop.port)
        registration = Registration("one", "version", "alice", (80,), True)
        membership = members.join(registration, Connection(), {80: leads})
        async with open_router_port("127.0.0.1", 0, table, Expected.HTTP) as port:
            yield Scene(members, membership, port, laptop)


async def answer_h2(reader, writer):
    await serve_h2(reader, writer, body=b"origin")


def run(scenario):
    async def limited():
        async with asyncio.timeout(LIMIT_S):
            await scenario()

    asyncio.run(limited())


@pytest.mark.parametrize("request_", [MARK, POST])
def test_what_has_not_left_yet_goes_to_the_origin(request_):
    async def scenario():
        nowhere = Nowhere()
        async with open_silent_scene(None, nowhere) as scene:
            reader, writer = await scene.connect()
            writer.write(request_)
            await nowhere.asked.wait()
            scene.fall_silent()
            _, body = await read_response(reader)
            assert body == (b"origin:2" if request_ is POST else b"origin:0")
            assert nowhere.cancelled == 1
            await cut(writer)

    run(scenario)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_streams_that_have_not_left_yet_go_to_the_origin(method):
    async def scenario():
        nowhere = Nowhere()
        async with open_silent_scene(answer_h2, nowhere) as scene:
            reader, writer = await scene.connect()
            client = Client(reader, writer)
            client.get(1, ("version", "alice"), method=method)
            if method == "POST":
                client.h2.send_data(1, b"hi", end_stream=True)
            writer.write(client.h2.data_to_send())
            await nowhere.asked.wait()
            scene.fall_silent()
            assert await client.collect(1) == {1: b"origin"}
            assert nowhere.cancelled == 1
            await cut(writer)

    run(scenario)


def test_a_request_that_may_be_sent_twice_is_sent_to_the_origin():
    async def scenario():
        async with open_silent_scene(None) as scene:
            reader, writer = await scene.connect()
            writer.write(MARK)
            await scene.laptop.asked.wait()
            scene.fall_silent()
            assert (await read_response(reader))[1] == b"origin:0"
            await cut(writer)

    run(scenario)


def test_streams_that_may_be_sent_twice_are_and_the_others_wait():
    async def scenario():
        async with open_silent_scene(answer_h2) as scene:
            reader, writer = await scene.connect()
            client = Client(reader, writer)
            for stream, method in ((1, "GET"), (3, "POST"), (5, "GET")):
                client.get(stream, ("version", "alice"), method=method)
            client.h2.send_data(3, b"hi", end_stream=True)
            writer.write(client.h2.data_to_send())
            while b"hi" not in scene.laptop.received:
                scene.laptop.asked.clear()
                await scene.laptop.asked.wait()
            scene.fall_silent()
            assert await client.collect(2) == {1: b"origin", 5: b"origin"}
            # The laptop may have done it: that one ends when the laptop is cut off.
            for each in scene.laptop.writers:
                await cut(each)
            (answer,) = (await client.collect(1)).values()
            assert b"the connection was" in answer
            await cut(writer)

    run(scenario)


def test_streams_of_a_laptop_that_goes_are_sent_to_the_origin():
    async def scenario():
        async with open_silent_scene(answer_h2) as scene:
            reader, writer = await scene.connect()
            client = Client(reader, writer)
            client.get(1, ("version", "alice"))
            writer.write(client.h2.data_to_send())
            await scene.laptop.asked.wait()
            for each in scene.laptop.writers:
                await cut(each)
            scene.members.lose(scene.membership)
            assert await client.collect(1) == {1: b"origin"}
            await cut(writer)

    run(scenario)


def test_streams_of_a_process_that_ends_are_refused():
    async def scenario():
        async with open_silent_scene(answer_h2) as scene:
            reader, writer = await scene.connect()
            client = Client(reader, writer)
            client.get(1, ("version", "alice"))
            writer.write(client.h2.data_to_send())
            await scene.laptop.asked.wait()
            for each in scene.laptop.writers:
                await cut(each)
            (answer,) = (await client.collect(1)).values()
            assert b"the connection was" in answer
            await cut(writer)

    run(scenario)
