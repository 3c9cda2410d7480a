"""The programs in the lab's pods keep their promises: everything else is measured against them."""

import asyncio
import hashlib
import json
import random
import socket
import struct

import pytest
from node_scene import NAMESPACE, NodeScene, listening, on_node

pytestmark = pytest.mark.lab

STREAMS = {"image": "lab/streams:1", "readinessProbe": listening(7001)}
MANY = 1000
MIB = 1 << 20


@on_node
async def test_streams(node: NodeScene) -> None:
    address = (await node.start("streams", STREAMS))["status"]["podIP"]
    block = random.Random(0).randbytes(MIB)

    reader, writer = await asyncio.open_connection(address, 7002)
    for _ in range(16):
        writer.write(block)
        await writer.drain()
    writer.write_eof()
    answer = json.loads(await reader.read())
    assert answer["bytes"] == 16 * MIB
    assert answer["sha256"] == hashlib.sha256(block * 16).hexdigest()
    assert 0 < answer["seconds"] < 10
    writer.close()

    reader, writer = await asyncio.open_connection(address, 7003, limit=MIB)
    writer.write(f"{3 * MIB + 7}\n".encode())
    assert await reader.read(-1) == block * 3 + block[:7]
    writer.close()

    reader, writer = await asyncio.open_connection(address, 7004)
    writer.write(b"x")
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()

    reader, writer = await asyncio.open_connection(address, 7005)
    assert await reader.read() == b"hello\n"
    writer.write(b"y" * 1000)
    writer.close()
    following = node.kubelet.log(NAMESPACE, "streams", "main").follow()
    async for _, line in following:
        assert line == b"greet received 1000 bytes\n"
        break


@on_node
async def test_many_connections_at_once(node: NodeScene) -> None:
    address = (await node.start("streams", STREAMS))["status"]["podIP"]
    connections = [await asyncio.open_connection(address, 7001) for _ in range(MANY)]
    for number, (_, writer) in enumerate(connections):
        writer.write(struct.pack("!I", number))
    for number, (reader, writer) in enumerate(connections):
        assert await reader.readexactly(4) == struct.pack("!I", number)
        writer.write_eof()
    for reader, writer in connections:
        assert await reader.read() == b""
        writer.close()


@on_node
async def test_http_echo_says_who_it_is_and_keeps_connections(node: NodeScene) -> None:
    container = {"image": "lab/http-echo:1", "readinessProbe": listening(8080)}
    address = (await node.start("tomcat", container))["status"]["podIP"]
    reader, writer = await asyncio.open_connection(address, 8080)
    local = writer.get_extra_info("sockname")
    for path in ("/one", "/two"):
        writer.write(
            f"POST {path} HTTP/1.1\r\nX-Mine: yes\r\nContent-Length: 3\r\n\r\nabc".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        answer = json.loads(await reader.readline())
        assert answer == {
            "hostname": "tomcat",
            "client": f"{local[0]}:{local[1]}",
            "method": "POST",
            "path": path,
            "headers": {"X-Mine": "yes", "Content-Length": "3"},
            "body_bytes": 3,
        }
    writer.write(b"garbage\r\n\r\n")
    assert await reader.read() == b""
    writer.close()


@on_node
async def test_udp_echo(node: NodeScene) -> None:
    address = (await node.start("udp", {"image": "lab/udp-echo:1"}))["status"]["podIP"]
    async for _ in node.kubelet.log(NAMESPACE, "udp", "main").follow():
        break
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_connect(client, (address, 7))
        for size in (0, 1, 1400, 9000):
            await loop.sock_sendall(client, b"z" * size)
            async with asyncio.timeout(5):
                assert await loop.sock_recv(client, 65536) == b"z" * size


@on_node
async def test_workloads_end_on_sigterm(node: NodeScene) -> None:
    for image in ("lab/http-echo:1", "lab/streams:1", "lab/udp-echo:1"):
        await node.start("ends", {"image": image}, terminationGracePeriodSeconds=30)
        async for _ in node.kubelet.log(NAMESPACE, "ends", "main").follow():
            break
        node.delete("ends")
        async with asyncio.timeout(5):
            pod = await node.wait_until_gone("ends")
        assert pod["status"]["phase"] == "Succeeded"
