"""Load on a path: bulk streams, one-byte round trips, new connections. Plain blocking sockets.

    python bench/load.py MEASURE HOST PORT [options]      prints one line of JSON

The ports are those of `ktnet.lab.workloads.streams`, perhaps shifted by the path: `PORT` is the one
that leads to the service which the measure needs (echo, discard or source).
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

BLOCK = bytes(range(256)) * 1024
TIMEOUT_S = 30.0
HUGE = 1 << 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measure", choices=sorted(MEASURES))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    measure = MEASURES[options.measure]
    json.dump(measure(options), sys.stdout)


def connect(host: str, port: int) -> socket.socket:
    sock = socket.create_connection((host, port), TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def measure_up(options: argparse.Namespace) -> dict[str, float]:
    """Sends for so long, then waits until the far end says that it has everything."""

    def send(sock: socket.socket, deadline_s: float) -> int:
        while time.monotonic() < deadline_s:
            sock.sendall(BLOCK)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
        return json.loads(answer)["bytes"]

    return run_streams(options, send)


def measure_down(options: argparse.Namespace) -> dict[str, float]:
    """Reads for so long, and leaves."""

    def receive(sock: socket.socket, deadline_s: float) -> int:
        buffer = bytearray(len(BLOCK))
        sock.sendall(b"%d\n" % HUGE)
        arrived = 0
        while time.monotonic() < deadline_s:
            count = sock.recv_into(buffer)
            if not count:
                raise RuntimeError("the stream ended early")
            arrived += count
        return arrived

    return run_streams(options, receive)


def run_streams(
    options: argparse.Namespace, carry: Callable[[socket.socket, float], int]
) -> dict[str, float]:
    """Each stream in a thread; `carry` says how many bytes it brought across."""
    socks = [connect(options.host, options.port) for _ in range(options.streams)]
    start_s = time.monotonic()
    with ThreadPoolExecutor(len(socks)) as pool:
        deadline_s = start_s + options.seconds
        arrived = list(pool.map(lambda sock: carry(sock, deadline_s), socks))
    took_s = time.monotonic() - start_s
    for sock in socks:
        sock.close()
    return {
        "mb_s": sum(arrived) / took_s / 1e6,
        "bytes": sum(arrived),
        "least_share": min(arrived) * len(arrived) / sum(arrived),
    }


def measure_round_trip(options: argparse.Namespace) -> dict[str, float]:
    """One byte there and back, again and again."""
    times_s = []
    with connect(options.host, options.port) as sock:
        deadline_s = time.monotonic() + options.seconds
        while (now_s := time.monotonic()) < deadline_s or len(times_s) < 20:
            sock.sendall(b"x")
            if not sock.recv(1):
                raise RuntimeError("the echo ended")
            times_s.append(time.monotonic() - now_s)
    return describe_times(times_s)


def describe_times(times_s: list[float]) -> dict[str, float]:
    """Percentiles, in ms."""
    cuts = statistics.quantiles(times_s, n=1000)
    return {
        "p50_ms": cuts[499] * 1e3,
        "p99_ms": cuts[989] * 1e3,
        "p999_ms": cuts[998] * 1e3,
        "count": len(times_s),
    }


def measure_connect(options: argparse.Namespace) -> dict[str, float]:
    """A new connection and its first echoed byte, one after the other."""
    times_s = []
    deadline_s = time.monotonic() + options.seconds
    while (now_s := time.monotonic()) < deadline_s or len(times_s) < 20:
        with connect(options.host, options.port) as sock:
            sock.sendall(b"x")
            if not sock.recv(1):
                raise RuntimeError("the echo ended")
            times_s.append(time.monotonic() - now_s)
    return describe_times(times_s)


def measure_connections(options: argparse.Namespace) -> dict[str, float]:
    """New connections a second, each with one echoed byte, so many under way at once."""
    times_s: list[float] = []
    begun_s: dict[socket.socket, float] = {}
    start_s = time.monotonic()
    deadline_s = start_s + options.seconds
    with selectors.DefaultSelector() as selector:

        def begin() -> None:
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((options.host, options.port))
            begun_s[sock] = time.monotonic()
            selector.register(sock, selectors.EVENT_WRITE)

        for _ in range(options.at_once):
            begin()
        while begun_s:
            ready = selector.select(TIMEOUT_S)
            if not ready:
                raise TimeoutError(f"{len(begun_s)} connections hang")
            for key, events in ready:
                sock = key.fileobj
                if events & selectors.EVENT_WRITE:
                    sock.send(b"x")
                    selector.modify(sock, selectors.EVENT_READ)
                    continue
                if not sock.recv(1):
                    raise RuntimeError("the echo ended")
                selector.unregister(sock)
                sock.close()
                times_s.append(time.monotonic() - begun_s.pop(sock))
                if time.monotonic() < deadline_s:
                    begin()
    return {"per_s": len(times_s) / (time.monotonic() - start_s)} | describe_times(times_s)


MEASURES = {
    "up": measure_up,
    "down": measure_down,
    "round-trip": measure_round_trip,
    "connect": measure_connect,
    "connections": measure_connections,
}

if __name__ == "__main__":
    main()
