"""Byte streams of every kind, for measuring and for proving that nothing gets lost.

    7001 echo    sends back what comes, until EOF
    7002 sink    reads to EOF, then answers {"bytes", "sha256", "seconds"} in one line of JSON
    7003 source  reads a line "N\\n", sends N bytes of the stream below, then EOF
    7004 reset   resets the connection at the first byte
    7005 greet   sends "hello\\n" and EOF at once, goes on reading, logs how many bytes came
    7006 discard reads to EOF, then answers {"bytes", "seconds"}: a sink that costs nothing itself

The stream is `random.Random(0).randbytes(2**20)`, over and over.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

BLOCK = random.Random(0).randbytes(1 << 20)
PIECE_SIZE = 1 << 18
MOST_DIGITS = 20


def echo(connection: socket.socket) -> None:
    """Every byte goes back as soon as it is there."""
    buffer = bytearray(PIECE_SIZE)
    view = memoryview(buffer)
    while count := connection.recv_into(buffer):
        connection.sendall(view[:count])


def sink(connection: socket.socket) -> None:
    """Answers only after EOF: a path that loses half-closes never gets the answer."""
    buffer = bytearray(PIECE_SIZE)
    view = memoryview(buffer)
    digest = hashlib.sha256()
    total = 0
    start_s = 0.0
    while count := connection.recv_into(buffer):
        start_s = start_s or time.monotonic()
        digest.update(view[:count])
        total += count
    seconds = time.monotonic() - start_s if total else 0.0
    answer = {"bytes": total, "sha256": digest.hexdigest(), "seconds": seconds}
    connection.sendall(json.dumps(answer).encode() + b"\n")


def discard(connection: socket.socket) -> None:
    """RFC 863's service, but for the answer."""
    buffer = bytearray(PIECE_SIZE)
    total = 0
    start_s = time.monotonic()
    while count := connection.recv_into(buffer):
        total += count
    answer = {"bytes": total, "seconds": time.monotonic() - start_s}
    connection.sendall(json.dumps(answer).encode() + b"\n")


def source(connection: socket.socket) -> None:
    """As many bytes as were asked for."""
    line = b""
    while not line.endswith(b"\n"):
        piece = connection.recv(1)
        if not piece or len(line) > MOST_DIGITS:
            return
        line += piece
    left = int(line)
    view = memoryview(BLOCK)
    while left > 0:
        connection.sendall(view[:left])
        left -= min(left, len(BLOCK))
    connection.shutdown(socket.SHUT_WR)
    # Closed with unread bytes, it would reset what is still on its way.
    while connection.recv(PIECE_SIZE):
        pass


def reset(connection: socket.socket) -> None:
    """A close with a linger time of zero sends RST (socket(7), SO_LINGER)."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def greet(connection: socket.socket) -> None:
    """Half-closes from this side."""
    connection.sendall(b"hello\n")
    connection.shutdown(socket.SHUT_WR)
    total = 0
    while piece := connection.recv(PIECE_SIZE):
        total += len(piece)
    print(f"greet received {total} bytes", flush=True)


SERVICES: dict[int, Callable[[socket.socket], None]] = {
    7001: echo,
    7002: sink,
    7003: source,
    7004: reset,
    7005: greet,
    7006: discard,
}


def main() -> None:
    """Serves until SIGTERM."""
    # As pid 1 of its container it would ignore the signal otherwise.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.stack_size(256 * 1024)
    servers = {
        port: socket.create_server(("", port), backlog=4096)
        for port in SERVICES  # all listen before the first is served
    }
    for port, server in servers.items():
        threading.Thread(target=accept_all, args=(server, SERVICES[port]), daemon=True).start()
    print(f"listening on {', '.join(map(str, SERVICES))}", flush=True)
    while True:
        signal.pause()


def accept_all(server: socket.socket, service: Callable[[socket.socket], None]) -> None:
    """A thread for each connection."""
    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection, service), daemon=True).start()


def serve(connection: socket.socket, service: Callable[[socket.socket], None]) -> None:
    """One connection, to its end."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with connection:
            service(connection)
    except (OSError, ValueError) as error:
        print(f"{service.__name__}: {error!r}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
