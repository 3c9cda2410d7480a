"""Much data through the TUN: whole, quick, and over a device that loses packets."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from capture_scene import (
    CLUSTER,
    DISCARD,
    SOURCE,
    FarFlow,
    FarSide,
    SocketFarSide,
    Tun,
    in_namespace,
    ip,
)
from capture_sockets import connected, receive, send

from ktnet.capture.engine import open_capture

pytestmark = pytest.mark.lab

MEBIBYTES = 256

APPLICATION = """
import hashlib, random, socket, sys, time
way, address, port, mebibytes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
digest = hashlib.sha256()
block = random.Random(1).randbytes(1 << 20)
sock = socket.create_connection((address, port))
began = time.monotonic()
count = 0
if way == "up":
    for _ in range(mebibytes):
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)
    count = mebibytes << 20
    sock.recv(1)
else:
    buffer = memoryview(bytearray(1 << 20))
    while more := sock.recv_into(buffer):
        if way == "hash":
            digest.update(buffer[:more])
        count += more
print(count, digest.hexdigest(), count / (time.monotonic() - began) / 1e6)
"""

LISTENER = """
import hashlib, random, socket, sys
way, mebibytes = sys.argv[1], int(sys.argv[2])
listener = socket.create_server(("0.0.0.0", 0))
print(listener.getsockname()[1], flush=True)
sock, _ = listener.accept()
digest = hashlib.sha256()
block = random.Random(1).randbytes(1 << 20)
if way in {"up", "discard"}:
    buffer = memoryview(bytearray(1 << 20))
    while more := sock.recv_into(buffer):
        if way == "up":
            digest.update(buffer[:more])
    sock.close()
    print(digest.hexdigest())
else:
    for _ in range(mebibytes):
        sock.sendall(block)
    sock.close()
"""


def expected_digest(mebibytes: int) -> str:
    block = random.Random(1).randbytes(1 << 20)
    digest = hashlib.sha256()
    for _ in range(mebibytes):
        digest.update(block)
    return digest.hexdigest()


async def start(
    code: str, *arguments: str, prefix: tuple[str, ...] = ()
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *prefix, sys.executable, "-c", code, *arguments, stdout=subprocess.PIPE
    )


async def result_of(process: asyncio.subprocess.Process) -> list[str]:
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().split()


@in_namespace
async def test_real_sockets_at_both_ends_get_the_same_bytes():
    expected = expected_digest(MEBIBYTES)
    with Tun() as fd:
        async with asyncio.TaskGroup() as tasks, open_capture(fd, SocketFarSide(tasks)):
            for way in ("up", "hash"):
                listener = await start(LISTENER, way, str(MEBIBYTES))
                assert listener.stdout is not None
                port = (await listener.stdout.readline()).decode().strip()
                application = await start(APPLICATION, way, CLUSTER, port, str(MEBIBYTES))
                count, received, rate = await result_of(application)
                (*sent,) = await result_of(listener)
                assert int(count) == MEBIBYTES << 20
                assert (sent[0] if way == "up" else received) == expected
                print(f"{way}: {float(rate):.0f} MB/s, hashed, with sockets at the far side")


@pytest.mark.alone
@in_namespace
async def test_throughput_beside_the_loopback():
    FarFlow.SOURCE_BYTES = MEBIBYTES << 20
    with Tun() as fd:
        async with open_capture(fd, FarSide(hashing=False)) as capture:
            for way, port in (("up", DISCARD), ("down", SOURCE)):
                listener_way = "discard" if way == "up" else way
                listener = await start(LISTENER, listener_way, str(MEBIBYTES))
                assert listener.stdout is not None
                raw_port = (await listener.stdout.readline()).decode().strip()
                raw = await result_of(
                    await start(APPLICATION, way, "127.0.0.1", raw_port, str(MEBIBYTES))
                )
                await result_of(listener)
                ours = await result_of(
                    await start(APPLICATION, way, CLUSTER, str(port), str(MEBIBYTES))
                )
                assert ours[0] == raw[0] == str(MEBIBYTES << 20)
                print(f"{way}: {float(ours[2]):.0f} MB/s, loopback {float(raw[2]):.0f} MB/s")
                assert float(ours[2]) > 100
            assert capture.counters.packets_dropped == 0


@in_namespace
async def test_nothing_is_missing_where_the_device_loses_packets():
    far = FarSide()
    with Tun() as fd:
        ip("link set tun0 txqueuelen 3")
        async with open_capture(fd, far):
            data = os.urandom(1 << 20)
            digest = hashlib.sha256()

            async def upload() -> None:
                async with connected(DISCARD) as sock:
                    for _ in range(4):
                        await send(sock, data)
                    sock.shutdown(socket.SHUT_WR)
                    assert await receive(sock, 1) == b""

            for _ in range(4):
                digest.update(data)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(8):
                    tasks.create_task(upload())
            assert {flow.digest.digest() for flow in far.flows} == {digest.digest()}
        *_, tun = Path("/proc/net/dev").read_text().splitlines()
        dropped = int(tun.split(":")[1].split()[11])  # of what was to be transmitted
        print(f"{dropped} packets lost")
        assert dropped > 0


@in_namespace
async def test_a_container_behind_this_machine_is_captured_too():
    """Forwarded packets: the kernel must cut up super-packets and complete checksums."""
    name = f"ktnet-capture-{os.getpid()}"
    ip(f"netns add {name}")
    try:
        ip(f"link add veth0 type veth peer name eth0 netns {name}")
        ip("addr add 172.31.0.1/24 dev veth0")
        ip("link set veth0 up")
        ip(f"-n {name} addr add 172.31.0.2/24 dev eth0")
        ip(f"-n {name} link set eth0 up")
        ip(f"-n {name} route add default via 172.31.0.1")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        FarFlow.SOURCE_BYTES = 32 << 20
        inside = ("ip", "netns", "exec", name)
        with Tun() as fd:
            async with open_capture(fd, FarSide()) as capture:
                far: list[str] = []
                for way, port in (("up", DISCARD), ("hash", SOURCE)):
                    arguments = (way, CLUSTER, str(port), "32")
                    far += await result_of(await start(APPLICATION, *arguments, prefix=inside))
                assert far[0] == far[3] == str(32 << 20)
                assert far[4] == hashlib.sha256(FarFlow.PIECE * 256).hexdigest()
                assert capture.counters.packets_dropped == 0
    finally:
        ip(f"netns del {name}")
