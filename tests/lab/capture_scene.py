"""A network namespace with a TUN device, a far side that does as the port says, and applications.

    application (socket) -> 10.96.0.0/16 dev tun0 -> TUN fd -> open_capture -> FarSide

A test decorated with `in_namespace` runs in a child process with a namespace of its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import functools
import hashlib
import importlib
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

from ktnet.host.plan import MTU
from ktnet.wire.flow import Flow, OpenFailure, Receiver

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
OFFLOADS = 0x01 | 0x02 | 0x04  # TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6

CHILD_TIMEOUT_S = 90  # less than pytest's own, which would leave the child behind

CLUSTER = "10.96.0.1"
LAPTOP = "198.18.0.1"
PEER = "198.18.0.2"

QUEUE_PACKETS = 16384  # 16 super-packets for each of 1,000 connections

ECHO, DISCARD, SOURCE, SILENT, STOPPED = 7, 9, 19, 21, 23
RESETS_AT_DATA, ENDS_AT_ONCE, HOLDS = 25, 27, 29
FAILURES = {
    81: OpenFailure.REFUSED,
    82: OpenFailure.HOST_UNREACHABLE,
    83: OpenFailure.NETWORK_UNREACHABLE,
    84: OpenFailure.TIMED_OUT,
    85: OpenFailure.PROHIBITED,
    86: OpenFailure.SHORTAGE,
    87: OpenFailure.UNKNOWN_NAME,
    88: OpenFailure.TUNNEL_DOWN,
}


def in_namespace(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run the coroutine `test` in a child process with its own network namespace."""

    @functools.wraps(test)
    def run_in_child() -> None:
        child = subprocess.run(
            [sys.executable, __file__, test.__module__, test.__name__],
            capture_output=True,
            text=True,
            check=False,
            timeout=CHILD_TIMEOUT_S,
        )
        print(child.stdout, end="")
        assert child.returncode == 0, child.stderr

    run_in_child.coroutine = test  # type: ignore[attr-defined]
    return run_in_child


def main() -> None:
    """The child: the test's module and name are its arguments."""
    module_name, name = sys.argv[1:]
    warnings.simplefilter("error")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    ip("link set lo up")
    # The machine's default may pace (BBR); "reno" is the one that every namespace may choose.
    Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("reno")
    module = importlib.import_module(module_name)  # from this file's own directory
    descriptors = count_descriptors()
    asyncio.run(_run(getattr(module, name).coroutine))
    assert count_descriptors() == descriptors, "descriptors leaked"


def count_descriptors() -> int:
    """Open in this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _run(test: Callable[[], Awaitable[None]]) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await test()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left
    assert not complaints, complaints


def ip(arguments: str) -> None:
    """Run iproute2 in this namespace."""
    subprocess.run(["ip", *arguments.split()], check=True)


class Tun:
    """A TUN device as the product opens it; the descriptor closes with the block."""

    def __enter__(self) -> int:
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", b"tun0", flags))
        fcntl.ioctl(self.fd, TUNSETOFFLOAD, OFFLOADS)
        Path("/proc/sys/net/ipv6/conf/tun0/disable_ipv6").write_text("1")
        ip(f"addr add {LAPTOP} peer {PEER} dev tun0")
        ip(f"link set tun0 up mtu {MTU} txqueuelen {QUEUE_PACKETS}")
        ip("route add 10.96.0.0/16 dev tun0")
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class FarFlow:
    """An open flow of the far side: does as the port says, and notes what it was told."""

    SOURCE_BYTES = 256 * 1024 * 1024
    PIECE = bytes(range(256)) * 512  # 128 KiB, as large as an SSH packet

    def __init__(self, receiver: Receiver, port: int) -> None:
        self.receiver = receiver
        self.port = port
        self.loop = asyncio.get_running_loop()
        self.received = 0
        self.digest = hashlib.sha256()
        self.hashing = True
        self.events: list[str] = []
        self.reading_paused = False
        self.sent = 0
        self.changed = asyncio.Event()

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.changed.set()

    async def wait_for(self, event: str) -> None:
        while event not in self.events:
            self.changed.clear()
            await self.changed.wait()

    def later(self, call: Callable[..., object], *arguments: object) -> None:
        self.loop.call_soon(functools.partial(call, *arguments))

    def begin(self) -> None:
        self.receiver.opened(self)
        if self.port == SOURCE:
            self.later(self._pump)
        elif self.port == STOPPED:
            self.later(self.receiver.pause_writing)
        elif self.port == ENDS_AT_ONCE:
            self.later(self.end)

    def _pump(self) -> None:
        if self.reading_paused or "reset" in self.events:
            return
        if self.sent < self.SOURCE_BYTES:
            self.sent += len(self.PIECE)
            self.receiver.data_received(self.PIECE)
            self.later(self._pump)
        else:
            self.end()

    def end(self) -> None:
        """EOF to the application; after EOF both ways the flow is closed."""
        self._note("ended")
        self.receiver.eof_received()
        self._close_after_both_ends()

    def _close_after_both_ends(self) -> None:
        if {"eof", "ended"} <= set(self.events):
            self.later(functools.partial(self.receiver.closed, reset=False))

    # ktnet.wire.flow.Flow

    def write(self, data: bytes | memoryview) -> None:
        self.received += len(data)
        if self.hashing:
            self.digest.update(data)
        if self.port == ECHO:
            self.later(self.receiver.data_received, bytes(data))
        elif self.port == RESETS_AT_DATA:
            self.later(functools.partial(self.receiver.closed, reset=True))

    def write_eof(self) -> None:
        self._note("eof")
        self._close_after_both_ends()
        if self.port in {ECHO, DISCARD}:
            self.later(self.end)

    def reset(self) -> None:
        self._note("reset")

    def pause_reading(self) -> None:
        self._note("pause")
        self.reading_paused = True

    def resume_reading(self) -> None:
        self._note("resume")
        self.reading_paused = False
        if self.port == SOURCE:
            self.later(self._pump)


class FarOpening:
    """An opening that can be cancelled."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    def cancel(self) -> None:
        self.cancelled.set()


class FarSide:
    """The dialer: the port says what becomes of a connection."""

    def __init__(self, *, hashing: bool = True) -> None:
        self.flows: list[FarFlow] = []
        self.openings: list[FarOpening] = []
        self.dialled: list[tuple[str, int, tuple[str, int]]] = []
        self.hashing = hashing
        self.opening = asyncio.Event()

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> FarOpening:
        self.dialled.append((host, port, origin))
        opening = FarOpening()
        self.openings.append(opening)
        loop = asyncio.get_running_loop()
        self.opening.set()
        if port in FAILURES:
            loop.call_soon(receiver.open_failed, FAILURES[port])
        elif port != SILENT:
            flow = FarFlow(receiver, port)
            flow.hashing = self.hashing
            self.flows.append(flow)
            loop.call_soon(flow.begin)
        return opening


class SocketFarSide:
    """A dialer that connects to real listeners on 127.0.0.1, at the port asked for."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks

    def open_tcp(
        self, _host: str, port: int, _origin: tuple[str, int], receiver: Receiver
    ) -> asyncio.Task[None]:
        return self._tasks.create_task(self._connect(port, receiver))

    async def _connect(self, port: int, receiver: Receiver) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: SocketFlow(receiver), "127.0.0.1", port)
        except ConnectionRefusedError:
            receiver.open_failed(OpenFailure.REFUSED)


class SocketFlow(asyncio.Protocol):
    """A flow over a real socket."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._over = False
        self._eofs = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self._over:
            self._receiver.data_received(data)

    def eof_received(self) -> bool:
        self._eofs += 1
        self._receiver.eof_received()
        return self._eofs < 2

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over:
            self._receiver.closed(reset=exc is not None)

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        asyncio.get_running_loop().call_soon(self._receiver.resume_writing)

    def write(self, data: bytes | memoryview) -> None:
        assert self._transport is not None
        self._transport.write(bytes(data))

    def write_eof(self) -> None:
        assert self._transport is not None
        self._eofs += 1
        if self._eofs == 2:
            self._transport.close()
        else:
            self._transport.write_eof()

    def reset(self) -> None:
        assert self._transport is not None
        self._over = True
        self._transport.abort()

    def pause_reading(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()


_FLOW: type[Flow] = FarFlow  # the types agree

if __name__ == "__main__":
    main()
