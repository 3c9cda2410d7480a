"""The helper as a process, and the socket pair to it: one datagram each way per question."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import sys

from ktnet.errors import HostNetworkError, HostPermissionError, KtnetError, RemoteProtocolError
from ktnet.host.replies import MAX_REPLY_BYTES, Reply, parse_reply
from ktnet.host.requests import Request, build_request

UNDO_TIME_S = 10.0
"""For the helper to undo everything and exit: it takes milliseconds, unless the disk hangs."""

MAX_DESCRIPTORS = 8

Answer = tuple[Reply, list[int]]


class Patience:
    """Waits out what must not be left half done, and is cancelled only at `end`."""

    def __init__(self) -> None:
        self._cancelled: asyncio.CancelledError | None = None

    async def wait(self, future: asyncio.Future[Answer] | asyncio.Future[None]) -> bool:
        """Whether the future was done within UNDO_TIME_S."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + UNDO_TIME_S
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
        self.exited: asyncio.Future[None] = self._loop.create_future()
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
        """The helper has ended, and with it whatever was asked."""
        if not self.exited.done():
            self.exited.set_result(None)

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
        future = self._waiting.pop(number, None)
        if future is None or future.done():
            _close(received)  # nobody waits any more
        else:
            future.set_result((reply, received))

    def _lose(self, error: KtnetError) -> None:
        self._loop.remove_reader(self._socket)
        self.lost = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    # --- ending ---

    def kill(self) -> None:
        """End a helper that doesn't answer; what it has not undone, its journal still names."""
        process = self._process
        if isinstance(process, asyncio.SubprocessTransport) and not self.exited.done():
            process.kill()

    def hang_up(self) -> None:
        """Close our end: the helper undoes everything and ends."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def close(self, patience: Patience) -> int | None:
        """Hang up and wait for the helper's end; its exit code. Kills it where it is late."""
        self.hang_up()
        process = self._process
        if not isinstance(process, asyncio.SubprocessTransport):
            return None
        if not await patience.wait(self.exited):
            self.kill()
            await patience.wait(self.exited)
        process.close()
        return process.get_returncode()


async def open_channel() -> Channel:
    """Start a helper; `Channel.close` has to be called. Raises HostPermissionError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    channel = Channel(ours)
    try:
        await asyncio.get_running_loop().subprocess_exec(
            lambda: channel,
            # Isolated: neither the environment nor the current directory can slip it a module.
            *(sys.executable, "-I", "-m", "ktnet.host.helper", str(theirs.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=None,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env={},
            cwd="/",
        )
    except OSError as error:
        channel.hang_up()
        raise HostPermissionError(f"the helper can't be started: {error.strerror}") from error
    except BaseException:
        channel.hang_up()
        raise
    finally:
        theirs.close()
    return channel


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
