"""Where a tunnel is slow: each leg of it measured apart, through the live session.

laptop ◄─ requests ─► API server ◄─ port-forward ─► shadow ◄─ connect ─► target
   ◄───────────── round trips, throughput ─────────────►
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ktnet.errors import NotFound, TunnelError, UsageError
from ktnet.link.fetch import build_get, measure_fetches
from ktnet.link.speed import (
    measure_download,
    measure_round_trips,
    measure_setups,
    measure_upload,
)
from ktnet.session.forward import find_host
from ktnet.session.targets import Forward, parse_forwards
from ktnet.session.tunnel import Tunnel
from ktnet.tasks import open_tasks
from ktnet.wire.shadow import PROBE_HOST

MOST_S = 30.0
"""Of each direction."""

_COUNT = 20
"""Samples of what takes a moment."""
_FORWARDS = 3
"""Each is another connection to the shadow, which it takes for one that never logs in."""
_BANNER_TIMEOUT_S = 15.0

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SpeedRequest:
    """What is to be measured."""

    seconds: float
    """Each direction."""
    target: Forward | None = None
    """Where the shadow is to connect to."""
    path: str = ""
    """What is to be fetched there, by HTTP; empty for nothing."""


def parse_speed_request(request: Json) -> SpeedRequest:
    """From a control request. Raises UsageError."""
    seconds: Any = request.get("seconds")
    path: Any = request.get("get", "")
    words: Any = request.get("target")
    if type(seconds) not in (int, float) or not 0.1 <= seconds <= MOST_S:
        raise UsageError(f"a measurement takes 0.1 to {MOST_S:g} seconds each way")
    if not isinstance(path, str) or (path and words is None):
        raise UsageError(
            "what is to be fetched is a path of a target", hint="svc/NAME PORT --get /"
        )
    if words is None:
        return SpeedRequest(float(seconds))
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError("a target is an object or a host, and its port")
    found = parse_forwards(tuple(words))
    if len(found) != 1:
        raise UsageError("one target and one port are measured at a time")
    if path:
        try:
            build_get("", path)
        except ValueError as error:
            raise UsageError(f"{path!r}: {error}") from error
    return SpeedRequest(float(seconds), found[0], path)


async def answer_speed(request: Json, tunnel: Tunnel | None) -> Json:
    """What a session measures for who asks it. Raises UsageError, and as `measure_speed`."""
    wanted = parse_speed_request(request)
    if tunnel is None:
        raise NotFound("there is no tunnel of this session's own, or not yet")
    return await measure_speed(tunnel, wanted)


async def measure_speed(tunnel: Tunnel, wanted: SpeedRequest) -> Json:
    """All legs; milliseconds, and megabits a second. Raises TunnelError where it breaks meanwhile,
    NotFound where there is no such target."""
    seconds, forward = wanted.seconds, wanted.target
    host = (
        await find_host(tunnel.cluster, forward.target, use_shadow=True)
        if forward is not None
        else None
    )
    requests = await _repeat(tunnel.cluster.api.read_version, _COUNT)
    forwards = await _repeat(lambda: _dial(tunnel), _FORWARDS)
    setups = await measure_setups(tunnel, PROBE_HOST, 1, _COUNT)
    idle = await measure_round_trips(tunnel, lambda count: count >= _COUNT)
    download, down_trips = await _measure_loaded(tunnel, measure_download(tunnel, seconds))
    upload, up_trips = await _measure_loaded(tunnel, measure_upload(tunnel, seconds))
    measured: Json = {
        "session": tunnel.shadow.name,
        "pod": tunnel.shadow.pod.name,
        "via": tunnel.shadow.spec.via,
        "seconds": seconds,
        "api_server": {"request_ms": summarise(requests)},
        "way": {"setup_ms": summarise(forwards)},
        "tunnel": {
            "setup_ms": summarise(setups),
            "idle_ms": summarise(idle),
            "download": {"mbit_s": to_mbit(download), "loaded_ms": summarise(down_trips)},
            "upload": {"mbit_s": to_mbit(upload), "loaded_ms": summarise(up_trips)},
        },
        "target": None,
    }
    if forward is not None and host is not None:
        connects = await measure_setups(tunnel, host, forward.remote_port, _COUNT)
        own_s = max(0.0, statistics.median(connects) - statistics.median(setups))
        measured["target"] = {
            "name": f"{forward.target}:{forward.remote_port}",
            "setup_ms": summarise(connects),
            "connect_ms": round(own_s * 1000, 3),
            "get": await _measure_get(tunnel, host, wanted) if wanted.path else None,
        }
    return measured | {"slow": find_slow(measured)}


async def _measure_get(tunnel: Tunnel, host: str, wanted: SpeedRequest) -> Json:
    assert wanted.target is not None  # noqa: S101  (there is no path without one)
    port = wanted.target.remote_port
    request = build_get(f"{host}:{port}", wanted.path)
    fetched = await measure_fetches(tunnel, host, port, request, wanted.seconds)
    return {
        "path": wanted.path,
        "status": fetched.status,
        "count": len(fetched.first_byte_s),
        "bytes": fetched.octets,
        "mbit_s": to_mbit(fetched.octets / fetched.spent_s),
        "first_byte_ms": summarise(fetched.first_byte_s),
    }


def summarise(samples: list[float]) -> Json:
    """Of seconds, in milliseconds."""
    return {
        "min": round(min(samples) * 1000, 3),
        "median": round(statistics.median(samples) * 1000, 3),
        "max": round(max(samples) * 1000, 3),
        "count": len(samples),
    }


def to_mbit(bytes_a_second: float) -> float:
    """Megabits (10^6) a second."""
    return round(bytes_a_second * 8 / 1e6, 3)


def find_slow(measured: Json) -> str:
    """In a sentence, where the time goes: pure."""
    tunnel, target = measured["tunnel"], measured["target"]
    request = measured["api_server"]["request_ms"]["median"]
    trip = tunnel["idle_ms"]["median"]
    shares = {
        "between this machine and the API server": request,
        "between the API server and the shadow": max(0.0, trip - request),
    }
    if target is not None:
        shares[f"between the shadow and {target['name']}"] = target["connect_ms"]
        if target.get("get"):
            first = target["get"]["first_byte_ms"]["median"]
            shares[f"in {target['name']}, until it answers"] = max(
                0.0, first - trip - target["connect_ms"]
            )
    slowest = max(shares, key=lambda leg: shares[leg])
    whole = sum(shares.values())
    found = [f"most of the time is spent {slowest}: {shares[slowest]:.1f} of {whole:.1f} ms"]
    for name in ("download", "upload"):
        loaded = tunnel[name]["loaded_ms"]["median"]
        if loaded > max(5 * trip, trip + 20):
            found.append(
                f"while a {name} runs, round trips take {loaded:.1f} ms instead of {trip:.1f}, so "
                "something on the way holds much back"
            )
    return "; ".join(found)


async def _measure_loaded(tunnel: Tunnel, measuring: Awaitable[float]) -> tuple[float, list[float]]:
    """What is measured, and round trips meanwhile."""
    done = asyncio.Event()
    async with open_tasks() as tasks:
        trips = tasks.create_task(measure_round_trips(tunnel, lambda _: done.is_set()))
        try:
            speed = await measuring
        finally:
            done.set()
        return speed, await trips


async def _repeat(do: Callable[[], Awaitable[T]], count: int) -> list[float]:
    loop = asyncio.get_running_loop()
    await do()  # the first opens a connection, perhaps
    spent = []
    for _ in range(count):
        start_s = loop.time()
        await do()
        spent.append(loop.time() - start_s)
    return spent


class _Banner(asyncio.Protocol):
    """Waits for the first octets of the shadow's SSH server."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """There it is."""
        if not self.heard.done():
            self.heard.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It isn't."""
        if not self.heard.done():
            self.heard.set_exception(TunnelError(f"the shadow said nothing: {exc or 'closed'}"))
            self.heard.exception()


async def _dial(tunnel: Tunnel) -> None:
    """A way to the shadow as the tunnel's own, to the SSH server's first words, and closed."""
    async with open_tasks() as streams:
        transport, protocol = await tunnel.shadow.connector(streams)(_Banner)
        assert isinstance(protocol, _Banner)  # noqa: S101  (narrows the type)
        try:
            async with asyncio.timeout(_BANNER_TIMEOUT_S):
                await protocol.heard
        except TimeoutError as error:
            raise TunnelError("the shadow's SSH server says nothing") from error
        finally:
            transport.close()
