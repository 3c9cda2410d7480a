"""`python held_connections.py HOST COUNT NAME`: connections to its echo server, one of them busy.

Says "open" when all are, and holds them until stdin ends. Without most of root's rights, as a
program of the one who looks: the dashboard's process may then see whose they are.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ktnet.host.privileges import OF_A_ROOT_CLIENT, keep_only
from ktnet.lab.harness import Lab

NAME = "held"
"""Of the process."""
ECHO = 7001
PIECE = b"x" * 65536
PAUSE_S = 0.02


def main(host: str, count: int, name: str) -> None:
    keep_only(OF_A_ROOT_CLIENT)
    Path("/proc/self/comm").write_text(name)
    with contextlib.ExitStack() as stack:
        streams = []
        for _ in range(count):
            stream = stack.enter_context(socket.create_connection((host, ECHO), 60.0))
            stream.sendall(b"hello")
            streams.append(stream)
        for stream in streams:
            stream.recv(5, socket.MSG_WAITALL)
        print("open", flush=True)
        threading.Thread(target=keep_busy, args=(streams[0],), daemon=True).start()
        sys.stdin.read()


def keep_busy(stream: socket.socket) -> None:
    """Some megabytes a second, both ways."""
    with contextlib.suppress(OSError):
        while True:
            stream.sendall(PIECE)
            stream.recv(len(PIECE), socket.MSG_WAITALL)
            time.sleep(PAUSE_S)


def open_connections(
    lab: Lab, host: str, count: int, name: str = NAME
) -> contextlib.AbstractContextManager[None]:
    """They are there until the context is left."""
    return hold(lab.exec(sys.executable, str(Path(__file__)), host, str(count), name))


@contextlib.contextmanager
def hold(command: list[str]) -> Iterator[None]:
    """A program that says "open", and goes when its input ends."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
