"""Faults of the API server and its port-forwards, as a client meets them."""

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType
from apilab import open_lab, run_pod, until

from ktnet.lab.faults.control import ApiFaults, build_fault_handler
from ktnet.lab.faults.owners import find_inode
from ktnet.lab.faults.requests import Arrival, RequestFault, RequestFaults

POD = "/api/v1/namespaces/demo/pods/p"
MAPS = "/api/v1/namespaces/demo/configmaps"


@asynccontextmanager
async def open_faulty():
    """A lab with a pod that echoes, and a function that makes faults happen."""

    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, open_lab() as lab:
        run_pod(lab.store, "p")
        lab.echo_port = server.sockets[0].getsockname()[1]
        faults = ApiFaults(lab.server, {1: "127.0.0.1", 2: "127.0.0.2"})
        handle = build_fault_handler(faults)

        async def happen(what, **arguments):
            return await handle({"what": what, **arguments})

        running = asyncio.create_task(faults.run())
        try:
            yield lab, happen
        finally:
            running.cancel()


def in_faulty_lab(scenario):
    async def run():
        async with open_faulty() as (lab, happen), asyncio.timeout(30):
            await scenario(lab, happen)

    asyncio.run(run())


@asynccontextmanager
async def forward(lab):
    async with lab.socket(f"{POD}/portforward?ports={lab.echo_port}") as ws:
        for _ in range(2):
            assert (await ws.receive()).data[1:] == struct.pack("<H", lab.echo_port)
        yield ws


async def echoes(ws, data):
    await ws.send_bytes(b"\0" + data)
    assert (await ws.receive()).data == b"\0" + data


def test_a_cut_is_an_end_without_a_word():
    async def scenario(lab, happen):
        async with forward(lab) as one, forward(lab) as other:
            await echoes(one, b"before")
            assert await happen("forwards", deed="cut") == {"forwards": 2}
            for ws in (one, other):
                assert (await ws.receive()).type == WSMsgType.CLOSED
                assert ws.close_code == 1006  # RFC 6455 section 7.1.5: no close frame came
        await until(lambda: not lab.server.streams.select())
        async with forward(lab) as again:
            await echoes(again, b"after")

    in_faulty_lab(scenario)


def test_a_reset_is_seen_as_one():
    async def scenario(lab, happen):
        async with forward(lab) as ws:
            await happen("forwards", deed="reset")
            message = await ws.receive()
            assert message.type in {WSMsgType.ERROR, WSMsgType.CLOSED}
            assert isinstance(ws.exception() or ws._reader.exception(), OSError)

    in_faulty_lab(scenario)


def test_a_close_says_goodbye():
    async def scenario(lab, happen):
        async with forward(lab) as ws:
            await happen("forwards", deed="close", pod="demo/p", laptop=1)
            message = await ws.receive()
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1000)

    in_faulty_lab(scenario)


def test_a_stall_keeps_every_byte():
    async def scenario(lab, happen):
        async with forward(lab) as ws:
            await happen("forwards", deed="stall")
            await ws.send_bytes(b"\0first")
            await ws.send_bytes(b"\0second")
            with pytest.raises(TimeoutError):
                await ws.receive(timeout=0.3)
            await happen("forwards", deed="resume")
            received = b""
            while len(received) < len(b"firstsecond"):
                received += (await ws.receive()).data[1:]
            assert received == b"firstsecond"

    in_faulty_lab(scenario)


def test_a_stalled_forward_can_be_cut():
    async def scenario(lab, happen):
        async with forward(lab) as ws:
            await happen("forwards", deed="stall")
            await ws.send_bytes(b"\0lost")
            await happen("forwards", deed="cut")
            assert (await ws.receive()).type == WSMsgType.CLOSED
        await until(lambda: not lab.server.streams.select())

    in_faulty_lab(scenario)


def test_faults_choose_their_forwards():
    async def scenario(lab, happen):
        async with forward(lab) as ws:
            assert await happen("forwards", deed="cut", pod="demo/q") == {"forwards": 0}
            assert await happen("forwards", deed="cut", laptop=2) == {"forwards": 0}
            await echoes(ws, b"still here")
            assert (await happen("show"))["forwards"] == [{"pod": "demo/p", "client": "127.0.0.1"}]

    in_faulty_lab(scenario)


def test_an_idle_timeout_cuts_only_what_is_idle():
    async def scenario(lab, happen):
        async with forward(lab) as busy, forward(lab) as idle:
            await happen("idle-timeout", seconds=1.0)
            waiting = asyncio.ensure_future(idle.receive())
            while not waiting.done():
                await echoes(busy, b"x")
                await asyncio.wait([waiting], timeout=0.05)
            assert (await waiting).type == WSMsgType.CLOSED
            await happen("idle-timeout", seconds=0)
            await echoes(busy, b"x")

    in_faulty_lab(scenario)


def test_a_restart_ends_all_and_comes_back():
    async def scenario(lab, happen):
        async with forward(lab) as ws:
            await happen("restart-api", seconds=0.5)
            assert (await ws.receive()).type in {WSMsgType.CLOSED, WSMsgType.ERROR}
        with pytest.raises(aiohttp.ClientConnectorError):
            await lab.ask("GET", MAPS)

        async def back():
            try:
                return (await lab.ask("GET", MAPS))[0] == 200
            except aiohttp.ClientConnectionError:
                return False

        while not await back():  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.05)
        async with forward(lab) as ws:
            await echoes(ws, b"as before")

    in_faulty_lab(scenario)


@pytest.mark.parametrize(("moment", "names"), [("before", set()), ("after", {"two"})])
def test_the_nth_request_is_reset_before_or_after_it_is_done(moment, names):
    async def scenario(lab, happen):
        await happen("on-request", deed="reset", number=2, moment=moment, method="POST")
        assert (await lab.ask("POST", MAPS, {"metadata": {"name": "one"}}))[0] == 201
        with pytest.raises(aiohttp.ClientConnectionError):
            await lab.ask("POST", MAPS, {"metadata": {"name": "two"}})
        _, listed = await lab.ask("GET", MAPS)
        assert {each["metadata"]["name"] for each in listed["items"]} == {"one", *names}
        (fault,) = (await happen("show"))["requests"]
        assert (fault["seen"], fault["done"]) == (2, 1)

    in_faulty_lab(scenario)


def test_requests_are_refused_for_a_while():
    async def scenario(lab, happen):
        await happen("on-request", deed="refuse", path="*/configmaps", times=2, status=500)
        assert [(await lab.ask("GET", MAPS))[0] for _ in range(3)] == [500, 500, 200]
        await happen("on-request", deed="refuse", times=100)
        await happen("clear")
        assert (await lab.ask("GET", MAPS))[0] == 200

    in_faulty_lab(scenario)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"what": "flood"},
        {"what": "forwards", "deed": "burn"},
        {"what": "forwards", "deed": "cut", "laptop": 9},
        {"what": "forwards", "deed": "cut", "laptop": {}},
        {"what": "restart-api", "seconds": -1},
        {"what": "idle-timeout", "seconds": "soon"},
        {"what": "on-request", "deed": "bless"},
        {"what": "on-request", "deed": "kill", "number": 0},
        {"what": "on-request", "deed": "kill", "number": "x"},
        {"what": "on-request", "deed": "refuse", "status": 200},
    ],
)
def test_what_makes_no_sense_is_refused(request_):
    async def scenario(lab, happen):
        with pytest.raises(ValueError, match=r"\w"):
            await happen(**{"what": "", **request_})
        assert (await lab.ask("GET", MAPS))[0] == 200

    in_faulty_lab(scenario)


def test_requests_are_counted_by_pattern():
    faults = RequestFaults()
    faults.add(RequestFault("kill", number=2, method="P*", path="*/pods/*", agent="ktnet*"))

    def count(method, path, agent="ktnet/1"):
        return faults.count(Arrival(method, path, agent, ("", 0))) is not None

    assert not count("PATCH", "/api/v1/namespaces/demo/pods/p")
    assert not count("GET", "/api/v1/namespaces/demo/pods/p")
    assert not count("PUT", "/api/v1/namespaces/demo/configmaps/p")
    assert not count("PUT", "/api/v1/namespaces/demo/pods/p", "kubectl/1")
    assert count("PUT", "/api/v1/namespaces/demo/pods/p")
    assert not count("PUT", "/api/v1/namespaces/demo/pods/p")


def test_a_fault_may_be_one_laptops():
    faults = RequestFaults()
    faults.add(RequestFault("kill", client="10.0.0.2"))
    assert faults.count(Arrival("GET", "/api", "ktnet/1", ("10.0.0.1", 1))) is None
    assert faults.count(Arrival("GET", "/api", "ktnet/1", ("10.0.0.2", 1))) is not None


def test_a_socket_is_found_in_the_kernels_table():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        inode = find_inode(Path("/proc/net/tcp").read_text(), listener.getsockname())
    assert inode is not None
