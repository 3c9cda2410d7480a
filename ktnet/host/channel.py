"""The helper as a process, and the socket pair to it: one datagram each way per question."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from ktnet.errors import HostNetworkError, HostPermissionError, KtnetError, RemoteProtocolError
from ktnet.host.replies import MAX_REPLY_BYTES, UNASKED, Reply, parse_reply
from ktnet.host.requests import Request, build_request

UNDO_TIME_S = 10.0
"""For the helper to undo everything and exit: it takes milliseconds, unless the disk hangs."""

MAX_DESCRIPTORS = 8

_MAX_UNASKED = 1

HELPER = (sys.executable, "-I", "-m", "ktnet.host.helper")
"""Isolated: neither the environment nor the current directory can slip it a module."""

Way = Literal["sudo", "none"]
"""How an ordinary user's client starts the helper: by sudo, or with its own rights."""

_PROMPT = "[sudo] password for %p, to change this machine's network: "

Answer = tuple[Reply, list[int]]


class Patience:
    """Waits out what must not be left half done, and is cancelled only at `end`."""

    def __init__(self) -> None:
        self._cancelled: asyncio.CancelledError | None = None

    async def wait(
        self,
        future: asyncio.Future[Answer] | asyncio.Future[None],
        limit_s: float = UNDO_TIME_S,
    ) -> bool:
        """Whether the future was done within `limit_s`."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + limit_s
        while not future.done() and loop.time() < deadline_s:
            try:
                await asyncio.wait([future], timeout=deadline_s - loop.time())
            except asyncio.CancelledError as cancelled:
                self._cancelled = cancelled
        return future.done()

    def end(self) -> None:
        """Raise the cancellation that came meanwhile."""
        if self._cancelled is not None:
            raise self._cancelled


class Channel(asyncio.SubprocessProtocol):
    """Questions to a running helper; see `open_channel`."""

    def __init__(self, ours: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = ours
        self._process: asyncio.BaseTransport | None = None
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self.lost = False
        self.unasked: asyncio.Queue[Reply] = asyncio.Queue(_MAX_UNASKED)
        """What the helper has said of its own; the newest, where nobody listens."""
        self.exited: asyncio.Future[None] = self._loop.create_future()
        """The helper has ended: it alone holds the other end of the socket."""
        self.started_exited: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(ours, self._readable)

    # --- asking ---

    async def ask(self, request: Request, *, descriptors: int = 0) -> Answer:
        """The reply, and as many descriptors, which are the caller's.

        Raises the helper's error, HostNetworkError where it has ended, RemoteProtocolError.
        """
        future = self._send(request)
        try:
            reply, received = await future
        except asyncio.CancelledError:
            # Cancelled just when the reply had come.
            if future.done() and not future.cancelled() and future.exception() is None:
                _close(future.result()[1])
            raise
        if isinstance(reply, KtnetError) or len(received) != descriptors:
            _close(received)
        if isinstance(reply, KtnetError):
            raise reply
        if len(received) != descriptors:
            raise RemoteProtocolError("the helper did not hand over what it was asked for")
        return reply, received

    async def ask_at_last(self, request: Request, patience: Patience) -> Reply:
        """The reply, an error too; waits for it though cancelled. Raises HostNetworkError."""
        future = self._send(request)
        if not await patience.wait(future):
            raise HostNetworkError(f"the helper gave no answer within {UNDO_TIME_S:.0f} s")
        reply, received = future.result()
        _close(received)
        return reply

    def _send(self, request: Request) -> asyncio.Future[Answer]:
        if self.lost:
            raise HostNetworkError("the helper that holds this machine's network has ended")
        self._number += 1
        try:
            self._socket.send(build_request(self._number, request))
        except OSError as error:
            raise HostNetworkError(f"the helper can't be asked: {error.strerror}") from error
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[self._number] = future
        return future

    # --- being told ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The helper runs."""
        self._process = transport

    def process_exited(self) -> None:
        """What was started has ended: the helper, or sudo, which has only started it."""
        if not self.started_exited.done():
            self.started_exited.set_result(None)

    def _readable(self) -> None:
        try:
            data, received = _receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            data, received = b"", []
        if not data:
            self._lose(HostNetworkError("the helper that holds this machine's network has ended"))
            return
        try:
            number, reply = parse_reply(data)
        except RemoteProtocolError as error:
            _close(received)
            self._lose(error)
            return
        if number == UNASKED and not isinstance(reply, KtnetError):
            _close(received)
            if self.unasked.full():
                self.unasked.get_nowait()
            self.unasked.put_nowait(reply)
            return
        future = self._waiting.pop(number, None)
        if future is None or future.done():
            _close(received)  # nobody waits any more
        else:
            future.set_result((reply, received))

    def _lose(self, error: KtnetError) -> None:
        self._loop.remove_reader(self._socket)
        self.lost = True
        if not self.exited.done():
            self.exited.set_result(None)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def check_started(self) -> None:
        """Raises HostPermissionError where sudo has not started the helper."""
        process = self._process
        if isinstance(process, asyncio.SubprocessTransport) and process.get_returncode() != 0:
            process.close()
            raise HostPermissionError(
                "joining this machine to a network takes root's rights, which sudo did not give",
                hint="see `sudo -l`; docs/host.md has a line for sudoers that needs no password",
            )

    # --- ending ---

    def hang_up(self) -> None:
        """Say that nothing more will be asked: the helper undoes everything and ends.

        One that hangs is killed by its supervisor after a while.
        """
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def close(self, patience: Patience) -> None:
        """Hang up and wait for the helper's end. Raises HostNetworkError where it is late."""
        self.hang_up()
        try:
            ended = await patience.wait(self.exited, 2 * UNDO_TIME_S)
            process = self._process
            if ended and isinstance(process, asyncio.SubprocessTransport):
                await patience.wait(self.started_exited)
                process.close()
        finally:
            self.drop()
        if not ended:
            raise HostNetworkError(
                "the helper has not undone everything yet",
                hint="when it has ended, see: ktnet clean",
            )

    def drop(self) -> None:
        """Close our end."""
        if not self.lost:
            self._loop.remove_reader(self._socket)
        self._socket.close()


@dataclass(frozen=True)
class Started:
    """A helper that was started before there was an event loop; for one `open_channel`."""

    socket: socket.socket
    process: subprocess.Popen[bytes]


def start_helper() -> Started:
    """Start a helper with this process's rights, which it may then give up."""
    ours, theirs = _make_pair()
    with theirs:
        process = subprocess.Popen(
            HELPER,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={},
            cwd="/",
        )
    return Started(ours, process)


def _make_pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


async def open_channel(way: Way = "sudo", *, asks: bool = True) -> Channel:
    """Start a helper; `Channel.close` has to be called.

    Not as root, sudo starts it where `way` is "sudo", and may ask the user for a password (never
    so without `asks`). Raises HostPermissionError.
    """
    ours, theirs = _make_pair()
    channel = Channel(ours)
    by_sudo = way == "sudo" and os.geteuid() != 0
    asks = asks and _has_terminal()
    sudo = ("sudo", *(("-p", _PROMPT) if asks else ("-n",)), "--") if by_sudo else ()
    try:
        await asyncio.get_running_loop().subprocess_exec(
            lambda: channel,
            *(*sudo, *HELPER),
            stdin=theirs.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            # What sudo -n says, the error below says better.
            stderr=asyncio.subprocess.DEVNULL if by_sudo and not asks else None,
            # sudo has to be in the terminal's foreground to ask there.
            start_new_session=not by_sudo,
            env=None if by_sudo else {},
            cwd="/",
        )
        if by_sudo:
            await channel.started_exited
            channel.check_started()
    except FileNotFoundError as error:
        channel.drop()
        raise build_missing_sudo() from error
    except OSError as error:
        channel.drop()
        raise HostPermissionError(f"the helper can't be started: {error.strerror}") from error
    except BaseException:
        channel.drop()
        raise
    finally:
        theirs.close()
    return channel


def build_missing_sudo() -> HostPermissionError:
    """Why an ordinary user gets no helper where there is no sudo."""
    return HostPermissionError(
        "joining this machine to a network takes root's rights, and there is no sudo here",
        hint="run as root, or in a container with NET_ADMIN; `--mode proxy` needs no rights",
    )


def _has_terminal() -> bool:
    """Whether there is anybody to be asked for a password."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _receive(ours: socket.socket) -> tuple[bytes, list[int]]:
    """One datagram and its descriptors, which no child process shall inherit.

    Not by `socket.recv_fds`, which ignores its flags (seen in CPython 3.11).
    """
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(MAX_DESCRIPTORS * descriptors.itemsize)
    data, ancillary, _, _ = ours.recvmsg(MAX_REPLY_BYTES + 1, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content)
    return data, list(descriptors)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
