"""What the mesh router costs: requests per second of its own CPU, and the latency that it adds.

    python bench/router.py [--seconds 3]

Origin, router and client are processes of their own on this machine. Requests are small, on kept
connections; direct and through the router in turn, five rounds, medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events

from ktnet.shadow.destinations import Origin
from ktnet.shadow.router.listener import Expected, open_router_port
from ktnet.shadow.router.table import Table
from ktnet.stream.loop import run as run_loop

ROUNDS = 5
CONNECTIONS = 8
REQUEST = b"GET /hello HTTP/1.1\r\nHost: tomcat\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
STREAMS = 12
"""HTTP/2 streams that a busy connection runs at once."""


# --- the origin ---


class Http1Origin(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(RESPONSE * data.count(b"\r\n\r\n"))


class Http2Origin(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.h2.send_headers(event.stream_id, [(":status", "200")])
                self.h2.send_data(event.stream_id, b"hello", end_stream=True)
        self.transport.write(self.h2.data_to_send())


def run_origin(pipe: Connection, protocol: Callable[[], asyncio.Protocol]) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


def run_router(pipe: Connection, origin_port: int) -> None:
    async def serve() -> None:
        table = Table(Origin("127.0.0.1", origin_port))
        async with open_router_port("127.0.0.1", 0, table, Expected.UNKNOWN) as port:
            pipe.send(port.number)
            await asyncio.to_thread(pipe.recv)

    run_loop(serve())


# --- the client ---


async def ask_http1(port: int, until_s: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken = []
    while (start := time.perf_counter()) < until_s:
        writer.write(REQUEST)
        await reader.readexactly(len(RESPONSE))
        taken.append(time.perf_counter() - start)
    writer.close()
    return taken


async def ask_http2(port: int, until_s: float, streams: int = 1) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    conn = h2.connection.H2Connection()
    conn.initiate_connection()
    started: dict[int, float] = {}
    taken: list[float] = []
    while True:
        while len(started) < streams and time.perf_counter() < until_s:
            stream = conn.get_next_available_stream_id()
            started[stream] = time.perf_counter()
            conn.send_headers(
                stream,
                [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "t")],
                end_stream=True,
            )
        if not started:
            writer.close()
            return taken
        writer.write(conn.data_to_send())
        for event in conn.receive_data(await reader.read(65536)):
            if isinstance(event, h2.events.DataReceived):
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                taken.append(time.perf_counter() - started.pop(event.stream_id))


async def load(ask: Callable[..., Any], port: int, seconds: float, connections: int) -> list[float]:
    until_s = time.perf_counter() + seconds
    parts = await asyncio.gather(*(ask(port, until_s) for _ in range(connections)))
    return [each for part in parts for each in part]


def read_cpu_s(pid: int) -> float:
    """proc_pid_stat(5): utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def start(function: Callable[..., None], *arguments: Any) -> tuple[Any, Connection, int]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=function, args=(theirs, *arguments), daemon=True)
    process.start()
    return process, ours, ours.recv()


def measure(
    protocol: Callable[[], asyncio.Protocol], ask: Any, ask_much: Any, seconds: float
) -> dict[str, float]:
    origin, origin_pipe, origin_port = start(run_origin, protocol)
    router, router_pipe, router_port = start(run_router, origin_port)
    rates, added_ms = [], []
    for _ in range(ROUNDS):
        direct = asyncio.run(load(ask, origin_port, seconds / 4, 1))
        alone = asyncio.run(load(ask, router_port, seconds / 4, 1))
        added_ms.append((statistics.median(alone) - statistics.median(direct)) * 1000)
        before_s = read_cpu_s(router.pid)
        busy = asyncio.run(load(ask_much, router_port, seconds, CONNECTIONS))
        rates.append(len(busy) / (read_cpu_s(router.pid) - before_s))
    for pipe, process in ((router_pipe, router), (origin_pipe, origin)):
        pipe.send(None)
        process.join()
    return {
        "requests_per_cpu_second": round(statistics.median(rates)),
        "added_p50_ms": round(statistics.median(added_ms), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    print(
        json.dumps(
            {
                "http1": measure(Http1Origin, ask_http1, ask_http1, seconds),
                "http2": measure(
                    Http2Origin, ask_http2, partial(ask_http2, streams=STREAMS), seconds
                ),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
