"""From HTTP to a WebSocket, against servers that answer byte by byte as told."""

import asyncio
import base64
import contextlib
import hashlib
import re

import pytest
from forward_peer import target_of
from test_forward_transport import Recorder

from ktnet.cluster.portforward import open_forward
from ktnet.cluster.server.api import open_api
from ktnet.errors import ClusterUnreachable, RemoteProtocolError, TunnelError
from ktnet.tasks import open_tasks

PORT = 7022
ANNOUNCED = bytes.fromhex("8203 006e1b 8203 016e1b")
GOODBYE = b"\x88\x02\x03\xe8"
RIGHT = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: {accept}",
    "Sec-WebSocket-Protocol: v4.channel.k8s.io",
)


def without(name):
    return [line for line in RIGHT if not line.startswith(name)]


class Heard:
    """What a server has got."""

    def __init__(self):
        self.requests = []
        self.data = bytearray()
        self.more = asyncio.Event()

    async def until(self, size):
        while len(self.data) < size:
            self.more.clear()
            await self.more.wait()


@contextlib.asynccontextmanager
async def open_server(headers, behind, *, stay=True):
    """An Api whose server answers 101 with `headers`, and in the same packet what is behind."""
    seen = Heard()

    async def serve(reader, writer):
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.requests.append(request)
        key = re.search(r"(?im)^sec-websocket-key: (\S+)\r$", request)[1]
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", *headers, "", ""]
        writer.write("\r\n".join(lines).format(accept=accept).encode() + behind)
        if stay:
            while data := await reader.read(4096):
                seen.data += data
                seen.more.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with open_api(target_of(f"http://127.0.0.1:{port}")) as api:
            yield api, seen


async def dial(api, tasks):
    _, recorder = await open_forward(api, "ns", "pod", PORT, Recorder, tasks)
    return recorder


def run(scenario):
    async def main():
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(main())


def test_frames_right_behind_the_answer_are_not_lost():
    async def scenario():
        behind = ANNOUNCED + b"\x82\x06\x00hello" + GOODBYE
        async with open_server(RIGHT, behind) as (api, seen), open_tasks() as tasks:
            recorder = await dial(api, tasks)
            assert await recorder.lost is None
            assert recorder.data == b"hello"
        head = seen.requests[0].lower()
        assert head.startswith("get /api/v1/namespaces/ns/pods/pod/portforward?ports=7022 http/1.1")
        assert "sec-websocket-version: 13\r\n" in head

    run(scenario)


def test_half_a_frame_behind_the_answer_is_half_a_frame():
    async def scenario():
        behind = ANNOUNCED + b"\x82\x7e"
        async with open_server(RIGHT, behind, stay=False) as (api, _), open_tasks() as tasks:
            recorder = await dial(api, tasks)
            assert isinstance(await recorder.lost, TunnelError)

    run(scenario)


def test_a_server_that_leaves_right_after_its_answer():
    async def scenario():
        async with open_server(RIGHT, b"", stay=False) as (api, _), open_tasks() as tasks:
            with pytest.raises((TunnelError, ClusterUnreachable)):
                await dial(api, tasks)

    run(scenario)


@pytest.mark.parametrize(
    "headers",
    [
        without("Upgrade"),
        without("Connection"),
        without("Sec-WebSocket-Accept"),
        [*without("Sec-WebSocket-Accept"), "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ=="],
        [*RIGHT, "Sec-WebSocket-Extensions: permessage-deflate"],
        [*without("Sec-WebSocket-Protocol"), "Sec-WebSocket-Protocol: v5.channel.k8s.io"],
    ],
)
def test_an_answer_that_is_none(headers):
    async def scenario():
        async with open_server(headers, ANNOUNCED) as (api, seen), open_tasks() as tasks:
            with pytest.raises(ClusterUnreachable):
                await dial(api, tasks)
            assert len(seen.requests) == 1
            assert seen.data == b""

    run(scenario)


def test_a_server_that_chooses_no_protocol():
    async def scenario():
        headers = without("Sec-WebSocket-Protocol")
        async with open_server(headers, ANNOUNCED) as (api, _), open_tasks() as tasks:
            with pytest.raises(RemoteProtocolError, match=r"v4\.channel"):
                await dial(api, tasks)

    run(scenario)


def test_what_is_sent_is_masked_each_frame_with_another_key():
    def unmask(data):
        messages, keys = [], []
        while data:
            assert data[0] in {0x82, 0x88}
            size, at = data[1] & 0x7F, 2
            assert data[1] & 0x80
            if size > 125:
                width = {126: 2, 127: 8}[size]
                size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
            key, payload = data[at : at + 4], data[at + 4 : at + 4 + size]
            keys.append(key)
            messages.append(bytes(b ^ key[n % 4] for n, b in enumerate(payload)))
            data = data[at + 4 + size :]
        return messages, keys

    async def scenario():
        async with open_server(RIGHT, ANNOUNCED) as (api, seen):
            async with open_tasks() as tasks:
                recorder = await dial(api, tasks)
                sent = [b"a", b"b" * 125, b"c" * 200, b"d" * 70000]
                for data in sent:
                    recorder.transport.write(data)
                recorder.transport.close()
                headers = 6 + 8 + 8 + 14 + 6
                await seen.until(headers + sum(len(data) + 1 for data in sent) + 2)
            messages, keys = unmask(bytes(seen.data))
        assert messages == [*(b"\x00" + data for data in sent), b"\x03\xe8"]
        assert len(set(keys)) == len(keys)

    run(scenario)
