"""A process that is started beside a container's own, with its standard streams."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios

from ktnet.lab.node.container import Container
from ktnet.lab.node.pipes import wait_readable, wait_writable
from ktnet.lab.node.spawner import Process

READ_SIZE = 32 << 10
CLOSED = -1


class Stream:
    """Our end of one of its streams; closed when it ends, or when the process is given up."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor

    async def read(self) -> bytes:
        """Some bytes; empty at the end."""
        while self.descriptor != CLOSED:
            try:
                data = os.read(self.descriptor, READ_SIZE)
            except BlockingIOError:
                await wait_readable(self.descriptor)
                continue
            except OSError:
                data = b""  # EIO: the last process has closed its side of the terminal
            if not data:
                self.close()
            return data
        return b""

    async def write(self, data: bytes) -> None:
        """All of it; BrokenPipeError where nobody reads."""
        view = memoryview(data)
        while view:
            if self.descriptor == CLOSED:
                raise BrokenPipeError
            try:
                view = view[os.write(self.descriptor, view) :]
            except BlockingIOError:
                await wait_writable(self.descriptor)

    def close(self) -> None:
        if self.descriptor != CLOSED:
            os.close(self.descriptor)
            self.descriptor = CLOSED


class ContainerExec:
    """A process in a running container; it is killed when whoever waits for it is cancelled.

    With a terminal, its input and output are one stream, and there is no other.
    """

    def __init__(
        self, process: Process, stdin: Stream, stdout: Stream, stderr: Stream, *, terminal: bool
    ) -> None:
        self._process = process
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._terminal = terminal

    async def write(self, data: bytes) -> None:
        """Bytes for its standard input; BrokenPipeError where it reads no more."""
        await self._stdin.write(data)

    async def close_stdin(self) -> None:
        """End of its standard input."""
        if not self._terminal:
            self._stdin.close()

    async def read_stdout(self) -> bytes:
        """Some bytes, up to 32 KiB; empty at the end. With a terminal, all output comes here."""
        return await self._read(self._stdout)

    async def read_stderr(self) -> bytes:
        """Likewise; at once empty with a terminal."""
        return b"" if self._terminal else await self._read(self._stderr)

    def resize(self, width: int, height: int) -> None:
        """The size of its terminal in characters; ignored without one."""
        if self._terminal and self._stdout.descriptor != CLOSED:
            size = struct.pack("HHHH", height, width, 0, 0)
            fcntl.ioctl(self._stdout.descriptor, termios.TIOCSWINSZ, size)

    async def wait(self) -> int:
        """Its exit code; 128 + n where signal n ended it."""
        try:
            code = await self._process.wait()
        except asyncio.CancelledError:
            self._give_up()
            raise
        self._stdin.close()
        return code

    async def _read(self, stream: Stream) -> bytes:
        try:
            return await stream.read()
        except asyncio.CancelledError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        for stream in (self._stdin, self._stdout, self._stderr):
            stream.close()


async def start_exec(
    container: Container, command: list[str], *, stdin: bool, tty: bool
) -> ContainerExec:
    """Starts a process in a running container.

    Raises LookupError where it does not run, OSError where the command can't be started.
    """
    if tty:
        ours, theirs = os.openpty()
        streams = (ours, ours, ours)
        others = (theirs, theirs, theirs)
    else:
        read_in, write_in = os.pipe2(os.O_CLOEXEC)
        read_out, write_out = os.pipe2(os.O_CLOEXEC)
        read_err, write_err = os.pipe2(os.O_CLOEXEC)
        streams = (write_in, read_out, read_err)
        others = (read_in, write_out, write_err)
    try:
        process = await container.execute(command, others, terminal=tty)
    except BaseException:
        for descriptor in set(streams):
            os.close(descriptor)
        raise
    finally:
        for descriptor in set(others):
            os.close(descriptor)
    if tty:
        stream = Stream(ours)
        return ContainerExec(process, stream, stream, stream, terminal=True)
    execution = ContainerExec(process, *map(Stream, streams), terminal=False)
    if not stdin:
        await execution.close_stdin()
    return execution
