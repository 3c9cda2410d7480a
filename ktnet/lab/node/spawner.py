"""The daemon's end of the zygote: processes started, signalled and awaited."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

import ktnet
from ktnet.lab.node.child import parse_complaint
from ktnet.lab.node.launch import Launch, build_launch_message
from ktnet.lab.node.messages import receive_message, send_message
from ktnet.lab.node.pipes import wait_readable

KILLED = 128
"""Added to a signal's number to make an exit code, as shells and Kubernetes have it."""


class StartFailed(Exception):
    """A process could not be made what it should be; the text is for a pod's status.

    `number` is the errno of the call that failed, or 0.
    """

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


class Process:
    """A process of the lab, as its parent's parent sees it."""

    def __init__(self, pidfd: int, ended: asyncio.Future[int]) -> None:
        self.pid = _read_pid(pidfd)
        """In the daemon's own pid namespace."""
        self._pidfd = pidfd
        self._ended = ended
        ended.add_done_callback(self._close)

    @property
    def pidfd(self) -> int:
        """Refers to it; raises ProcessLookupError where it has ended."""
        if self._pidfd < 0:
            raise ProcessLookupError
        return self._pidfd

    async def wait(self) -> int:
        """The exit code, or 128 + n after signal n."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: signal.Signals) -> None:
        """Signals it; a process that is no more takes no notice."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    async def end(self) -> None:
        """Kills it and waits for its end."""
        self.send_signal(signal.SIGKILL)
        await self.wait()

    def _close(self, _: object) -> None:
        os.close(self._pidfd)
        self._pidfd = -1


class Spawner:
    """Starts processes by way of the zygote."""

    def __init__(self, requests: socket.socket, directory: Path) -> None:
        self.directory = directory
        """The lab's own."""
        self._requests = requests
        self._last_id = 0
        self._starting: dict[int, asyncio.Future[Process]] = {}
        self._running: dict[int, asyncio.Future[int]] = {}

    async def spawn(
        self,
        launch: Launch,
        *,
        streams: tuple[int, int, int],
        pid_namespace: Literal["new", "joined", "own"],
        joined: Sequence[int] = (),
    ) -> Process:
        """A process that has become what `launch` says: its program runs.

        `streams` are descriptors for stdin, stdout and stderr; they stay the caller's. `joined`
        are namespaces to enter, or the pidfd of one process. Raises StartFailed.
        """
        specification = _memory_file(build_launch_message(launch))
        complaints_read, complaints_write = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                process = await self._request(
                    pid_namespace, [specification, complaints_write, *streams, *joined]
                )
            finally:
                os.close(specification)
                os.close(complaints_write)
            try:
                complaint = await _read_to_end(complaints_read)
            except BaseException:
                process.send_signal(signal.SIGKILL)
                raise
        finally:
            os.close(complaints_read)
        if complaint:
            await process.end()
            number, text = parse_complaint(complaint)
            raise StartFailed(text, number)
        return process

    async def _request(self, pid_namespace: str, descriptors: list[int]) -> Process:
        loop = asyncio.get_running_loop()
        self._last_id += 1
        request_id = self._last_id
        started: asyncio.Future[Process] = loop.create_future()
        self._starting[request_id] = started
        self._running[request_id] = loop.create_future()
        request = {"id": request_id, "pid_namespace": pid_namespace}
        try:
            send_message(self._requests, request, descriptors)
        except OSError as error:
            raise StartFailed(f"the lab's zygote is gone: {error}") from error
        try:
            return await asyncio.shield(started)
        except asyncio.CancelledError:
            # It is on its way, and nobody will own it.
            started.add_done_callback(_kill_late)
            raise

    def take_answer(self) -> None:
        """Reads one answer of the zygote's; called when there is one."""
        received = receive_message(self._requests)
        if received is None:
            self._zygote_ended()
            return
        answer: dict[str, Any] = received[0]
        request_id = answer["id"]
        if "started" in answer:
            process = Process(received[1][0], self._running[request_id])
            self._starting.pop(request_id).set_result(process)
        elif "failed" in answer:
            del self._running[request_id]
            self._starting.pop(request_id).set_exception(StartFailed(answer["failed"]))
        else:
            self._running.pop(request_id).set_result(_exit_code(answer["ended"]))

    def _zygote_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._requests)
        for started in self._starting.values():
            started.set_exception(StartFailed("the lab's zygote is gone"))
        for ended in self._running.values():
            ended.set_result(KILLED + signal.SIGKILL)
        self._starting.clear()
        self._running.clear()


@contextlib.asynccontextmanager
async def open_spawner(directory: Path) -> AsyncIterator[Spawner]:
    """Starts the zygote; on leaving, it and all that it started are gone.

    Its processes are born into the namespaces that this process is in now. `directory` is the
    lab's own; a staging directory is made in it.
    """
    staging = directory / "root"
    staging.mkdir(mode=0o700, exist_ok=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    source = Path(ktnet.__file__).parent.parent
    # No site-packages: what the zygote doesn't load, no fork of it carries about.
    program = (
        f"import sys; sys.path.insert(0, {str(source)!r}); "
        "from ktnet.lab.node.zygote import main; main()"
    )
    zygote = subprocess.Popen(  # noqa: ASYNC220 -- a fork, and nothing to wait for
        [sys.executable, "-I", "-S", "-B", "-c", program, str(os.getpid()), str(staging)],
        stdin=theirs.fileno(),
    )
    theirs.close()
    loop = asyncio.get_running_loop()
    spawner = Spawner(ours, directory)
    loop.add_reader(ours, spawner.take_answer)
    try:
        yield spawner
    finally:
        loop.remove_reader(ours)
        # The zygote ends, the kernel ends all that it has forked, and only then is it gone.
        ours.close()
        await asyncio.to_thread(zygote.wait)


def _kill_late(started: asyncio.Future[Process]) -> None:
    if started.exception() is None:
        started.result().send_signal(signal.SIGKILL)


def _memory_file(data: bytes) -> int:
    descriptor = os.memfd_create("launch", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _read_to_end(descriptor: int) -> bytes:
    """All that comes out of a pipe until its other end is closed."""
    os.set_blocking(descriptor, False)
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except BlockingIOError:
            await wait_readable(descriptor)
            continue
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def _read_pid(pidfd: int) -> int:
    """A process's id as this process sees it: proc(5), /proc/pid/fdinfo of a pidfd."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise OSError(f"descriptor {pidfd} is no pidfd")


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else KILLED - code
