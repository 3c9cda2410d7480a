"""What the API server needs of a kubelet: the way into a pod."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

LogLine = tuple[int, bytes]
"""Nanoseconds since the epoch, and the line with its newline (the last one may lack it)."""


class ContainerLog(Protocol):
    """The output of one run of a container."""

    @property
    def lines(self) -> Sequence[LogLine]:
        """What was written until now, oldest first."""

    def follow(self) -> AsyncIterator[LogLine]:
        """What is written from now on, until the container has ended.

        "Now" is the call, not the first step: what `lines` gave just before is not repeated,
        and nothing between the two is lost.
        """


class ContainerExec(Protocol):
    """A process that was started beside a container's own."""

    async def write(self, data: bytes) -> None:
        """Bytes for its standard input; BrokenPipeError where it reads no more."""

    async def close_stdin(self) -> None:
        """End of its standard input."""

    async def read_stdout(self) -> bytes:
        """Some bytes, up to 32 KiB; empty at the end. With a terminal, all output comes here."""

    async def read_stderr(self) -> bytes:
        """Likewise; at once empty with a terminal."""

    def resize(self, width: int, height: int) -> None:
        """The size of its terminal in characters; ignored without one."""

    async def wait(self) -> int:
        """Its exit code; 128 + n where signal n ended it."""


class PodRuntime(Protocol):
    """What runs the pods of this node."""

    async def connect(self, namespace: str, pod: str, port: int) -> socket.socket:
        """A non-blocking socket, connected to 127.0.0.1:port inside the pod's network.

        Raises ConnectionRefusedError where nothing listens (other OSErrors are possible),
        LookupError where the pod has no network (not started, or over).
        """

    def log(
        self, namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> ContainerLog:
        """The log of the current or the previous run; LookupError where there was none."""

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: list[str],
        *,
        stdin: bool,
        tty: bool,
    ) -> ContainerExec:
        """Starts a process in a running container; it is killed when its caller is cancelled.

        Raises LookupError where the container does not run, OSError (FileNotFoundError,
        PermissionError) where the command can't be started.
        """
