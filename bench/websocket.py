"""Bulk on plain port-forwards, no SSH: what a client by the port-forward can get at most.

    python bench/websocket.py up|down POD PORT [--streams N] [--seconds S]

Prints what `load.py` prints, and the seconds of processor time that it took. Each stream is a
WebSocket of aiohttp's to the API server that KUBECONFIG names, to a pod in its namespace `demo`, on
which (`v4.channel.k8s.io`) whole messages go up from memory, and come down to be counted. In the
lab that API server is Python too: figures beside an `ssh -L` past it would tell of the lab's.
"""

import argparse
import asyncio
import json
import resource
import sys
import time

import aiohttp
from load import HUGE

from ktnet.cluster.config import load_target
from ktnet.wire.apipaths import build_path, build_target

MESSAGE = b"\x00" + bytes(range(256)) * 1024


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measure", choices=["up", "down"])
    parser.add_argument("pod")
    parser.add_argument("port", type=int)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    carry = send if options.measure == "up" else receive
    async with open_session() as session:
        sockets = [await dial(session, options.pod, options.port) for _ in range(options.streams)]
        start_s, cpu_s = time.monotonic(), read_cpu_s()
        deadline_s = start_s + options.seconds
        arrived = await asyncio.gather(*(carry(socket, deadline_s) for socket in sockets))
        took_s = time.monotonic() - start_s
        figures = {
            "mb_s": sum(arrived) / took_s / 1e6,
            "bytes": sum(arrived),
            "least_share": min(arrived) * len(arrived) / sum(arrived),
            "cpu_s": read_cpu_s() - cpu_s,
        }
    json.dump(figures, sys.stdout)


def open_session() -> aiohttp.ClientSession:
    trust = load_target(None, None).access.trust
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=0))


async def dial(
    session: aiohttp.ClientSession, pod: str, port: int
) -> aiohttp.ClientWebSocketResponse:
    """An open port-forward."""
    target = load_target(None, None)
    path = build_target(build_path("pods", "demo", pod, "portforward"), {"ports": port})
    headers = await target.access.credentials.build_headers()
    socket = await session.ws_connect(
        target.server + path, headers=headers, protocols=["v4.channel.k8s.io"], max_msg_size=0
    )
    for channel in (0, 1):
        assert await socket.receive_bytes() == bytes((channel,)) + port.to_bytes(2, "little")
    return socket


async def send(socket: aiohttp.ClientWebSocketResponse, deadline_s: float) -> int:
    """What has been sent when the time is over; what is still under way is little beside it."""
    sent = 0
    while time.monotonic() < deadline_s:
        await socket.send_bytes(MESSAGE)
        sent += len(MESSAGE) - 1
    return sent


async def receive(socket: aiohttp.ClientWebSocketResponse, deadline_s: float) -> int:
    """Reads for so long, and leaves."""
    await socket.send_bytes(b"\x00%d\n" % HUGE)
    arrived = 0
    while time.monotonic() < deadline_s:
        arrived += len(await socket.receive_bytes()) - 1
    return arrived


def read_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    asyncio.run(main())
