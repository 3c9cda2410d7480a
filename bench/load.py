"""Load on a path: bulk streams, one-byte round trips, connections. Plain blocking sockets.

    python bench/load.py MEASURE HOST PORT [options]      prints one line of JSON

The ports are those of `ktnet.lab.workloads.streams`, perhaps shifted by the path: `PORT` is the one
that leads to the service which the measure needs (echo, discard or source).
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import selectors
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

BLOCK = bytes(range(256)) * 1024
TIMEOUT_S = 30.0
HUGE = 1 << 50

WINDOWS = 5
SMALL_BLOCK = 16384
"""Sent at once where a slow path's rate is sampled."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measure", choices=sorted(MEASURES))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--warm-up", type=float, default=0.0)
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


def measure_steady_up(options: argparse.Namespace) -> dict[str, float]:
    """What a path takes when all of its buffers are full: the far end's word would come late."""
    with connect(options.host, options.port) as sock:
        piece = BLOCK[:SMALL_BLOCK]
        found = sample(options, lambda: sock.send(piece))
        # Not all that is still in the buffers: the next measure wants them empty.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return found


def measure_steady_down(options: argparse.Namespace) -> dict[str, float]:
    """What a path brings after its ramp-up."""
    with connect(options.host, options.port) as sock:
        sock.sendall(b"%d\n" % HUGE)
        buffer = bytearray(len(BLOCK))
        found = sample(options, lambda: sock.recv_into(buffer))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return found


def sample(options: argparse.Namespace, carry: Callable[[], int]) -> dict[str, float]:
    """The median rate of WINDOWS spans of time behind the warm-up, and the warm-up's own rate."""
    start_s = time.monotonic()
    due_s = start_s + options.warm_up
    marks: list[tuple[float, int]] = []
    moved = 0
    while len(marks) <= WINDOWS:
        moved += carry()
        if (now_s := time.monotonic()) >= due_s:
            marks.append((now_s, moved))
            due_s = now_s + options.seconds / WINDOWS
    rates = [(b - a) / (t - s) / 1e6 for (s, a), (t, b) in itertools.pairwise(marks)]
    first_s, first = marks[0]
    return {"mb_s": statistics.median(rates), "first_mb_s": first / (first_s - start_s) / 1e6}


def hold(options: argparse.Namespace) -> dict[str, float]:
    """Opens so many connections, says when each has echoed a byte, keeps them until stdin ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    start_s = time.monotonic()
    with ThreadPoolExecutor(options.at_once) as pool:
        socks = list(pool.map(lambda _: open_echo(options), range(options.streams)))
    took_s = time.monotonic() - start_s
    print(json.dumps({"open": len(socks), "took_s": took_s}), flush=True)
    sys.stdin.read()
    # All of them still carry what is said.
    for sock in socks:
        sock.sendall(b"y")
    alive = sum(sock.recv(1) == b"y" for sock in socks)
    for sock in socks:
        sock.close()
    return {"alive": alive}


def open_echo(options: argparse.Namespace) -> socket.socket:
    sock = connect(options.host, options.port)
    sock.sendall(b"x")
    if sock.recv(1) != b"x":
        raise RuntimeError("the echo ended")
    return sock


MEASURES = {
    "hold": hold,
    "steady-up": measure_steady_up,
    "steady-down": measure_steady_down,
    "up": measure_up,
    "down": measure_down,
    "round-trip": measure_round_trip,
    "connect": measure_connect,
    "connections": measure_connections,
}

if __name__ == "__main__":
    main()
