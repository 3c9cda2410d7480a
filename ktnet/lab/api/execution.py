"""Exec over a WebSocket: `v5.channel.k8s.io` and `v4.channel.k8s.io`.

Channels 0 to 4 are stdin, stdout, stderr, error (a Status at the end) and resize; in v5 the message
`ff 00` ends stdin (k8s.io/kubelet/pkg/cri/streaming/remotecommand).
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.runtime import ContainerExec
from ktnet.lab.api.upgrade import WebSocket

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
SUBPROTOCOLS = (V5, V4)
"""The newest that both know, whatever the client prefers."""

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE_CHANNEL = 0, 1, 2, 3, 4, 255

MOST_RESIZE_BYTES = 1024


@dataclass(frozen=True)
class ExecOptions:
    """What a client asks for."""

    command: list[str]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class Execution:
    """One process in a container, and its WebSocket."""

    def __init__(self, websocket: WebSocket, subprotocol: str, options: ExecOptions) -> None:
        self._websocket = websocket
        self._subprotocol = subprotocol
        self._options = options
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._resizing = bytearray()
        self._size: tuple[int, int] | None = None
        self._process: ContainerExec | None = None

    def channel_received(self, channel: int, data: bytes | bytearray, *, first: bool) -> None:
        if channel == STDIN and self._options.stdin and data:
            self._input.put_nowait(bytes(data))
            self._websocket.hold(self)
        elif channel == CLOSE_CHANNEL and self._subprotocol == V5 and data[:1] == b"\x00":
            self._input.put_nowait(None)
        elif channel == RESIZE and self._options.tty:
            self._resizing = bytearray(data) if first else self._resizing + data
            self._resize()

    def client_closed(self) -> None:
        """The process notices by itself: a broken pipe, or the end of its input."""
        self._input.put_nowait(None)

    async def run(self, start: Callable[[], Awaitable[ContainerExec]]) -> None:
        """Until the process has ended or the client is gone."""
        self._websocket.start(self)
        await self._websocket.send(STDOUT, b"")
        command, failure = self._options.command, None
        if command:
            try:
                self._process = await start()
            except (OSError, LookupError) as error:
                failure = error
        if self._process is None:
            await self._say(_build_start_failure(failure, command, self._subprotocol))
        else:
            if self._size is not None:
                # It was told before there was a terminal.
                self._process.resize(*self._size)
            await self._attend(self._process)
        await self._websocket.close()

    async def _attend(self, process: ContainerExec) -> None:
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(self._feed(process))
            leaving = tasks.create_task(self._websocket.ended.wait())
            working = tasks.create_task(self._work(process))
            await asyncio.wait((leaving, working), return_when=asyncio.FIRST_COMPLETED)
            for each in (feeding, leaving, working):
                each.cancel()
        if not working.cancelled():
            await self._say(
                build_exit_status(working.result(), self._options.command, self._subprotocol)
            )

    async def _work(self, process: ContainerExec) -> int:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._copy(process.read_stdout, STDOUT))
            tasks.create_task(self._copy(process.read_stderr, STDERR))
        return await process.wait()

    async def _copy(self, read: Callable[[], Awaitable[bytes]], channel: int) -> None:
        wanted = self._options.stdout if channel == STDOUT else self._options.stderr
        while data := await read():
            if wanted:
                await self._websocket.send(channel, data)

    async def _feed(self, process: ContainerExec) -> None:
        while (data := await self._input.get()) is not None:
            try:
                await process.write(data)
            except OSError:
                return
            finally:
                if self._input.empty():
                    self._websocket.release(self)
        await process.close_stdin()

    async def _say(self, status: Obj) -> None:
        # Without a subprotocol there is no error channel.
        if self._subprotocol:
            text = json.dumps(status, separators=(",", ":"))
            for character in "<>&":
                # As Go writes JSON, so that it can stand in a web page.
                text = text.replace(character, f"\\u{ord(character):04x}")
            await self._websocket.send(ERROR, text.encode())

    def _resize(self) -> None:
        try:
            size = json.loads(self._resizing)
            width, height = int(size["Width"]), int(size["Height"])
        except (ValueError, KeyError, TypeError):
            del self._resizing[MOST_RESIZE_BYTES:]
            return
        if 0 < width < 1 << 16 and 0 < height < 1 << 16:
            self._size = width, height
            if self._process is not None:
                self._process.resize(width, height)


def build_exit_status(code: int, command: list[str], subprotocol: str) -> Obj:
    """What is said on the error channel at the end."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    how = f"command terminated with exit code {code}"
    if subprotocol == V4:
        how = f"error executing command [{' '.join(command)}], exit code {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {how}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _build_start_failure(error: Exception | None, command: list[str], subprotocol: str) -> Obj:
    why = "error executing command in container: failed to exec in container: "
    if isinstance(error, LookupError):
        why += "container is not running"
    else:
        # containerd names the process that it could not start by 32 random bytes.
        why += f'failed to start exec "{secrets.token_hex(32)}": '
        why += "OCI runtime exec failed: exec failed: "
        if not command:
            why += "args must not be empty"
        else:
            said = (getattr(error, "strerror", None) or str(error)).lower()
            name = command[0]
            why += f'unable to start container process: exec: "{name}": stat {name}: {said}'
    if subprotocol != V4:
        why = f"Internal error occurred: {why}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {why}",
        "reason": "InternalError",
        "details": {"causes": [{"message": why}]},
        "code": 500,
    }
