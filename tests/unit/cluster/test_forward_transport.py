"""A forwarded connection as an asyncio transport, against servers that play well or badly."""

import asyncio
import contextlib
import os
import socket

import pytest
from aiohttp import WSMsgType, web
from forward_peer import open_http, open_peer, target_of

from ktnet.cluster import forwardtransport
from ktnet.cluster.portforward import open_forward
from ktnet.cluster.server.api import open_api
from ktnet.errors import (
    ClusterUnreachable,
    Forbidden,
    RemoteProtocolError,
    TunnelError,
)
from ktnet.tasks import open_tasks

PORT = 7022


class Recorder(asyncio.Protocol):
    """Notes what a transport tells it."""

    def __init__(self):
        self.transport = None
        self.data = bytearray()
        self.changed = asyncio.Event()
        self.paused = False
        self.pauses = 0
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        self.changed.set()

    def pause_writing(self):
        assert not self.paused
        self.paused = True
        self.pauses += 1
        self.changed.set()

    def resume_writing(self):
        assert self.paused
        self.paused = False
        self.changed.set()

    def connection_lost(self, exc):
        self.lost.set_result(exc)
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """Has a buffer of its own: a small one."""

    def __init__(self):
        super().__init__()
        self.buffer = bytearray(7)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        assert nbytes > 0
        self.data_received(self.buffer[:nbytes])


@contextlib.asynccontextmanager
async def open_recorder(play, factory=Recorder):
    async with open_peer(play) as api, open_tasks() as tasks:
        _, recorder = await open_forward(api, "ns", "pod", PORT, factory, tasks)
        yield recorder


async def announce(peer):
    for channel in b"\x00", b"\x01":
        await peer.send_bytes(channel + PORT.to_bytes(2, "little"))


async def read_to_end(peer):
    """All messages until the client goes, answering pings."""
    messages = []
    while (message := await peer.receive()).type not in {
        WSMsgType.CLOSE,
        WSMsgType.CLOSING,
        WSMsgType.CLOSED,
        WSMsgType.ERROR,
    }:
        if message.type is WSMsgType.BINARY:
            messages.append(message.data)
    return messages


async def play_echo(peer):
    await announce(peer)
    async for message in peer:
        await peer.send_bytes(message.data)


def test_bytes_go_both_ways_and_close_flushes():
    sent = []

    async def play(peer):
        await announce(peer)
        await peer.send_bytes(b"\x00welcome")
        sent.extend(await read_to_end(peer))

    async def scenario():
        async with open_recorder(play) as recorder:
            await recorder.until(lambda: recorder.data == b"welcome")
            recorder.transport.write(b"good")
            recorder.transport.write(bytearray(b"bye"))
            recorder.transport.close()
            assert recorder.transport.is_closing()
            recorder.transport.write(b"too late")
            assert await recorder.lost is None

    asyncio.run(scenario())
    assert b"".join(message[1:] for message in sent) == b"goodbye"


def test_a_write_travels_in_one_message_and_a_big_one_in_several():
    sent = []

    async def play(peer):
        await announce(peer)
        sent.extend(await read_to_end(peer))

    async def scenario():
        async with open_recorder(play) as recorder:
            recorder.transport.writelines([b"a", b"b", memoryview(b"c")])
            recorder.transport.write(bytes(1 << 20))
            recorder.transport.close()
            await recorder.lost

    asyncio.run(scenario())
    assert sent[0] == b"\x00abc"
    most = (448 << 10) - 1
    assert [len(message) - 1 for message in sent[1:]] == [most, most, (1 << 20) - 2 * most]


def test_a_protocol_with_a_buffer_gets_all_bytes_in_it():
    sent = bytes(range(256)) * 10

    async def play(peer):
        await announce(peer)
        for begin in range(0, len(sent), 100):
            await peer.send_bytes(b"\x00" + sent[begin : begin + 100])
            await peer.ping(b"in between")
        await peer.close()

    async def scenario():
        async with open_recorder(play, BufferedRecorder) as recorder:
            assert await recorder.lost is None
            assert recorder.data == sent

    asyncio.run(scenario())


def test_a_buffer_may_be_changed_after_the_write():
    async def scenario():
        async with open_recorder(play_echo) as recorder:
            buffer = bytearray(b"first")
            recorder.transport.write(buffer)
            recorder.transport.write(memoryview(buffer))
            buffer[:] = b"wrong"
            await recorder.until(lambda: len(recorder.data) == 10)
            assert recorder.data == b"firstfirst"

    asyncio.run(scenario())


def test_a_peer_that_does_not_read_pauses_the_protocol():
    async def scenario():
        go_on = asyncio.Event()
        received = 0

        async def play(peer):
            nonlocal received
            await announce(peer)
            await go_on.wait()
            received = sum(len(message) - 1 for message in await read_to_end(peer))

        async with open_recorder(play) as recorder:
            transport, sent = recorder.transport, 0
            transport.set_write_buffer_limits(high=1 << 20, low=256 << 10)
            assert transport.get_write_buffer_limits() == (256 << 10, 1 << 20)
            chunk = bytes(1 << 20)
            for _ in range(64):
                if recorder.paused:
                    # Whatever the kernel still takes, until nothing moves any more.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.3):
                            await recorder.until(lambda: not recorder.paused)
                if recorder.paused:
                    break
                transport.write(chunk)
                sent += len(chunk)
            assert recorder.paused
            assert 256 << 10 < transport.get_write_buffer_size() <= 3 << 20
            assert sent < 64 << 20
            go_on.set()
            await recorder.until(lambda: not recorder.paused)
            transport.close()
            assert await recorder.lost is None
        assert received == sent

    asyncio.run(scenario())


def test_a_protocol_that_does_not_read_holds_the_server_back():
    async def scenario():
        sent = 0

        async def play(peer):
            nonlocal sent
            await announce(peer)
            for _ in range(2048):
                await peer.send_bytes(b"\x00" + bytes(32768))
                sent += 32768
            await read_to_end(peer)

        async with open_recorder(play) as recorder:
            await recorder.until(lambda: recorder.data)
            recorder.transport.pause_reading()
            assert not recorder.transport.is_reading()
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.3)
            held = len(recorder.data)
            assert sent < 64 << 20
            await asyncio.sleep(0)
            assert len(recorder.data) == held
            recorder.transport.resume_reading()
            await recorder.until(lambda: len(recorder.data) == 64 << 20)

    asyncio.run(scenario())


def test_the_servers_reason_reaches_the_protocol():
    async def play(peer):
        await announce(peer)
        await peer.send_bytes(b"\x01connection refused")
        await peer.close()

    async def scenario():
        async with open_recorder(play) as recorder:
            error = await recorder.lost
            assert isinstance(error, TunnelError)
            assert "connection refused" in error.message

    asyncio.run(scenario())


def test_an_orderly_close_by_the_server_is_no_error():
    async def play(peer):
        await announce(peer)
        await peer.send_bytes(b"\x00bye")
        await peer.close()

    async def scenario():
        async with open_recorder(play) as recorder:
            assert await recorder.lost is None
            assert recorder.data == b"bye"
            assert recorder.transport.is_closing()

    asyncio.run(scenario())


def test_a_cut_connection_is_an_error():
    async def play(peer):
        await announce(peer)
        peer.get_extra_info("socket").shutdown(2)

    async def scenario():
        async with open_recorder(play) as recorder:
            assert isinstance(await recorder.lost, TunnelError)

    asyncio.run(scenario())


@pytest.mark.parametrize("garbage", ["text", "channel", "frame"])
def test_garbage_is_the_servers_fault(garbage):
    async def play(peer):
        await announce(peer)
        match garbage:
            case "text":
                await peer.send_str("hello")
            case "channel":
                await peer.send_bytes(b"\x07what")
            case "frame":
                os.write(peer.get_extra_info("socket").fileno(), b"\xff\xff\xff\xff\xff")
        await read_to_end(peer)

    async def scenario():
        async with open_recorder(play) as recorder:
            assert isinstance(await recorder.lost, RemoteProtocolError)

    asyncio.run(scenario())


def test_abort_drops_what_waits():
    async def play(peer):
        await announce(peer)
        await asyncio.Event().wait()

    async def scenario():
        async with open_recorder(play) as recorder:
            recorder.transport.write(bytes(32 << 20))
            recorder.transport.abort()
            assert await recorder.lost is None
            assert recorder.transport.get_write_buffer_size() == 0

    asyncio.run(scenario())


def test_pings_are_answered():
    pongs = []

    async def play(peer):
        await announce(peer)
        await peer.ping(b"there?")
        pongs.append(await peer.receive())
        await peer.close()

    async def scenario():
        async with open_recorder(play) as recorder:
            await recorder.lost

    asyncio.run(scenario())
    assert pongs[0].type is WSMsgType.PONG
    assert pongs[0].data == b"there?"


def test_a_silent_server_is_noticed_and_an_idle_one_is_not(monkeypatch):
    monkeypatch.setattr(forwardtransport, "_TICK_S", 0.02)

    async def play_dead(peer):
        await announce(peer)
        await asyncio.Event().wait()

    async def play_idle(peer):
        await announce(peer)
        for _ in range(20):
            message = await peer.receive()
            assert message.type is WSMsgType.PING
            await peer.pong(message.data)
        await peer.close()

    async def scenario():
        async with open_recorder(play_dead) as recorder:
            error = await recorder.lost
            assert isinstance(error, TunnelError)
            assert "no answer" in error.message
        async with open_recorder(play_idle) as recorder:
            assert await recorder.lost is None

    asyncio.run(scenario())


def test_a_protocol_that_fails_ends_the_connection():
    class Broken(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError

    async def play(peer):
        await announce(peer)
        await peer.send_bytes(b"\x00x")
        await read_to_end(peer)

    async def scenario():
        async with open_peer(play) as api, open_tasks() as tasks:
            _, recorder = await open_forward(api, "ns", "pod", PORT, Broken, tasks)
            assert isinstance(await recorder.lost, ZeroDivisionError)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, {"reason": "Unauthorized"}, ClusterUnreachable, "credentials"),
        (403, {"reason": "", "message": ""}, Forbidden, "create pods/portforward"),
        (404, {"message": 'pods "pod" not found'}, TunnelError, "not found"),
        (500, 'pod not found ("pod_ns")', TunnelError, "pod not found"),
        (400, {"message": "pod pod does not have a host assigned"}, TunnelError, "a host"),
    ],
)
def test_refusals_say_why(status, body, error, words):
    async def handle(request):
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        return web.json_response({"kind": "Status", "code": status} | body, status=status)

    async def scenario():
        async with open_http(handle) as api, open_tasks() as tasks:
            with pytest.raises(error, match=words):
                await open_forward(api, "ns", "pod", PORT, Recorder, tasks)

    asyncio.run(scenario())


def test_no_server_at_all_is_unreachable():
    async def scenario():
        # A port that was just free; bound, but not listening.
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            target = target_of(f"http://127.0.0.1:{nobody.getsockname()[1]}")
            async with open_api(target) as api, open_tasks() as tasks:
                with pytest.raises(ClusterUnreachable, match="can't reach"):
                    await open_forward(api, "ns", "pod", PORT, Recorder, tasks)

    asyncio.run(scenario())


def test_closing_before_it_opened_is_an_error():
    async def play(peer):
        await peer.close()

    async def scenario():
        async with open_peer(play) as api, open_tasks() as tasks:
            with pytest.raises(TunnelError, match="before it opened"):
                await open_forward(api, "ns", "pod", PORT, Recorder, tasks)

    asyncio.run(scenario())
