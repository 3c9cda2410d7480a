"""Connections that don't come about, as applications see it: real sockets on a real TUN."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from contextlib import AsyncExitStack, closing

import pytest
from capture_scene import (
    CLUSTER,
    ECHO,
    LAPTOP,
    PEER,
    SILENT,
    FarSide,
    Tun,
    in_namespace,
    ip,
)
from capture_sockets import connected, error_of, receive, send

from ktnet.capture.engine import open_capture
from ktnet.errors import HostNetworkError

pytestmark = pytest.mark.lab

IP_RECVERR = 11


@pytest.mark.alone
@in_namespace
async def test_failures_reach_the_application_at_once():
    with Tun() as fd:
        async with open_capture(fd, FarSide()) as capture:
            for port, expected in (
                (81, errno.ECONNREFUSED),
                (82, errno.EHOSTUNREACH),
                (83, errno.ENETUNREACH),
                (85, errno.EHOSTUNREACH),
                (86, errno.EHOSTUNREACH),
                (87, errno.EHOSTUNREACH),
                (88, errno.EHOSTUNREACH),
            ):
                error, after_s = await error_of(port)
                assert error == expected, port
                assert after_s < 0.05, port
            assert capture.counters.flows_failed == 7
            assert capture.counters.flows_open == 0


@in_namespace
async def test_no_answer_there_is_silence_here():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5), connected(84):
                    pass
            assert len(far.dialled) == 2  # the kernel's second SYN was worth a second attempt


@in_namespace
async def test_an_application_that_gave_up_is_forgotten():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far) as capture:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.2), connected(SILENT):
                    pass
            assert len(far.openings) == 1  # the second SYN belonged to the same attempt
            assert not far.openings[0].cancelled.is_set()
            async with asyncio.timeout(4):
                await far.openings[0].cancelled.wait()
            assert capture.counters.flows_abandoned == 1


@in_namespace
async def test_a_new_attempt_from_the_same_port_is_dialled_anew():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far):
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2), connected(SILENT, source=(LAPTOP, 5000)):
                        pass
            assert len(far.openings) == 2
            assert far.openings[0].cancelled.is_set()


@in_namespace
async def test_udp_is_prohibited_at_once():
    loop = asyncio.get_running_loop()
    with Tun() as fd:
        async with open_capture(fd, FarSide()) as capture:
            for payload in (b"", b"query", bytes(20000)):  # none of them in fragments
                with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
                    sock.setblocking(False)
                    sock.connect((CLUSTER, 53))
                    await loop.sock_sendall(sock, payload)
                    began = loop.time()
                    with pytest.raises(OSError, match="No route to host"):
                        await asyncio.wait_for(loop.sock_recv(sock, 100), 1)
                    assert loop.time() - began < 0.05
            assert capture.counters.packets_refused == 3
            assert capture.counters.packets_dropped == 0


@in_namespace
async def test_ping_is_prohibited_at_once():
    with Tun() as fd:
        async with open_capture(fd, FarSide()):
            with closing(
                socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            ) as sock:
                sock.setblocking(False)
                sock.sendto(struct.pack("!BBHHH", 8, 0, 0xF7FE, 1, 0), (CLUSTER, 0))
                loop = asyncio.get_running_loop()
                reply = await asyncio.wait_for(loop.sock_recv(sock, 1000), 1)
                assert socket.inet_ntoa(reply[12:16]) == CLUSTER
                assert (reply[20], reply[21]) == (3, 13)
                assert reply[28:][20:28] == struct.pack("!BBHHH", 8, 0, 0xF7FE, 1, 0)


@in_namespace
async def test_a_local_target_is_dialled_by_its_name_and_its_other_ports_are_closed():
    far = FarSide()
    with Tun() as fd:
        targets = {(PEER, 7): ("probe.ktnet.invalid", ECHO)}
        async with open_capture(fd, far, local_targets=targets):
            async with connected(7, PEER) as sock:
                await send(sock, b"probe")
                assert await receive(sock, 5) == b"probe"
            assert far.dialled[0][:2] == ("probe.ktnet.invalid", ECHO)
            with pytest.raises(ConnectionRefusedError):
                async with connected(8, PEER):
                    pass
            assert len(far.dialled) == 1


@in_namespace
async def test_held_connections_fail_on_leaving():
    far = FarSide()
    with Tun() as fd:
        async with open_capture(fd, far):
            held = asyncio.ensure_future(error_of(SILENT))
            await far.opening.wait()
        error, _ = await held
        assert error == errno.EHOSTUNREACH
        assert far.openings[0].cancelled.is_set()


@in_namespace
async def test_open_connections_are_reset_on_leaving():
    far = FarSide()
    async with AsyncExitStack() as stack:
        fd = stack.enter_context(Tun())
        async with open_capture(fd, far):
            sock = await stack.enter_async_context(connected(ECHO))
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert far.flows[0].events == ["reset"]


@in_namespace
async def test_packets_of_a_former_capture_are_reset():
    with Tun() as fd, closing(socket.socket()) as sock:
        async with open_capture(fd, FarSide()):
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (CLUSTER, ECHO))
            ip("link set tun0 down")  # so that the reset is not heard
        ip("link set tun0 up")
        ip("route add 10.96.0.0/16 dev tun0")
        async with open_capture(fd, FarSide()):
            sock.send(b"still there?")
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(receive(sock, 1), 2)


@in_namespace
async def test_a_deleted_device_is_an_error():
    with Tun() as fd:
        async with open_capture(fd, FarSide()) as capture:
            ip("link del tun0")
            with pytest.raises(HostNetworkError, match="deleted"):
                await asyncio.wait_for(capture.wait_lost(), 2)
