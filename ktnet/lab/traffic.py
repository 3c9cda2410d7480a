"""Clients of the lab's `streams` workload: to measure a path, and to check it byte for byte.

Plain blocking sockets of the standard library, so that what is measured is the path. The
services' protocols stand in `ktnet.lab.workloads.streams`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = random.Random(0).randbytes(2**20)  # noqa: S311 -- reproducible, not secret
"""One MiB of the stream that `source` sends again and again, and that `upload` sends."""

SEND_BYTES = 256 * 1024
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Transfer:
    """What one bulk transfer came to."""

    size: int
    seconds: float
    sha256: str = ""
    """Empty where the bytes were only counted."""

    @property
    def rate_mb_s(self) -> float:
        """Megabytes (10^6 bytes) per second."""
        return self.size / self.seconds / 1e6


def stream_sha256(size: int) -> str:
    """SHA-256 of the first `size` bytes of the reproducible stream."""
    digest = hashlib.sha256()
    whole, rest = divmod(size, len(BLOCK))
    for _ in range(whole):
        digest.update(BLOCK)
    digest.update(BLOCK[:rest])
    return digest.hexdigest()


def upload(host: str, port: int, size: int) -> Transfer:
    """Sends `size` bytes to `sink` or `discard` and a half-close; the answer says what arrived."""
    view = memoryview(BLOCK)
    with socket.create_connection((host, port), TIMEOUT_S) as connection:
        start_s = time.monotonic()
        sent = 0
        while sent < size:
            offset = sent % len(BLOCK)
            sent += connection.send(view[offset : offset + min(SEND_BYTES, size - sent)])
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(read_all(connection))
        seconds = time.monotonic() - start_s
    return Transfer(answer["bytes"], seconds, answer.get("sha256", ""))


def download(host: str, port: int, size: int, *, verify: bool = True) -> Transfer:
    """Has `source` send `size` bytes, and reads them to the end.

    Without `verify` they are only counted: SHA-256 takes as long as a fast path does.
    """
    digest = hashlib.sha256()
    buffer = bytearray(SEND_BYTES)
    view = memoryview(buffer)
    received = 0
    with socket.create_connection((host, port), TIMEOUT_S) as connection:
        start_s = time.monotonic()
        connection.sendall(b"%d\n" % size)
        while count := connection.recv_into(buffer):
            if verify:
                digest.update(view[:count])
            received += count
        seconds = time.monotonic() - start_s
    return Transfer(received, seconds, digest.hexdigest() if verify else "")


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side ends the stream."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def echo_many(host: str, port: int, count: int) -> int:
    """Opens `count` connections at once; how many echoed their own number while all were open."""
    connections = [start_connection(host, port) for _ in range(count)]
    try:
        for connection in each_ready(connections, selectors.EVENT_WRITE):
            if failure := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(failure, os.strerror(failure))
        for number, connection in enumerate(connections):
            connection.send(b"connection %6d" % number)
        numbers = {connection: number for number, connection in enumerate(connections)}
        return sum(
            connection.recv(64) == b"connection %6d" % numbers[connection]
            for connection in each_ready(connections, selectors.EVENT_READ)
        )
    finally:
        for connection in connections:
            connection.close()


def start_connection(host: str, port: int) -> socket.socket:
    """A non-blocking socket that is connecting."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex((host, port))
    return connection


def each_ready(connections: list[socket.socket], event: int) -> Iterator[socket.socket]:
    """Each connection once, as it becomes ready; raises TimeoutError where one never does."""
    deadline_s = time.monotonic() + TIMEOUT_S
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, event, connection)
        while left := len(selector.get_map()):
            ready = selector.select(max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{left} of {len(connections)} connections did not get ready")
            for key, _ in ready:
                selector.unregister(key.data)
                yield key.data


def try_connect(host: str, port: int, timeout_s: float) -> tuple[str, float]:
    """How a connection attempt ends ("connected", "timeout" or the errno's name), and when."""
    start_s = time.monotonic()
    try:
        socket.create_connection((host, port), timeout_s).close()
    except TimeoutError:
        outcome = "timeout"
    except OSError as error:
        outcome = errno.errorcode.get(error.errno or 0, str(error))
    else:
        outcome = "connected"
    return outcome, time.monotonic() - start_s
