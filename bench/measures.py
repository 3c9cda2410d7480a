"""What is measured on a path, each by a process of its own that makes the load (`load.py`)."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from namespace import cpu_s

ECHO, SOURCE, DISCARD = 7001, 7003, 7006
SERVICES = {"up": DISCARD, "down": SOURCE}
LOAD = Path(__file__).parent / "load.py"
GIB = 1 << 30


@dataclass(frozen=True)
class Way:
    """A way to the `streams` workload."""

    name: str
    host: str
    port_shift: int
    """What is to be added to the workload's ports."""
    pids: dict[str, list[int]]
    """Processes that carry the bytes, by the end that they are at."""
    prefix: tuple[str, ...] = ()
    """Of a command line: runs it where the way begins."""
    load: Path = LOAD
    """The program that makes the load."""
    only: tuple[str, ...] = ()
    """The measures that it knows; otherwise all."""


Figures = dict[str, float]


def start_load(
    path: Way, measure: str, service: int, *options: object, **more: Any
) -> subprocess.Popen:
    command = [sys.executable, str(path.load), measure, path.host, str(service + path.port_shift)]
    return subprocess.Popen(
        [*path.prefix, *command, *map(str, options)], stdout=subprocess.PIPE, text=True, **more
    )


def finish_load(process: subprocess.Popen) -> dict[str, float]:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(process.args)} failed")
    return json.loads(output)


def measure_throughput(way: str, streams: int, path: Way, seconds: float) -> Figures:
    """MB/s, and seconds of processor time at each end for each GiB."""
    before = {end: cpu_s(pids) for end, pids in path.pids.items()}
    load = start_load(path, way, SERVICES[way], "--streams", streams, "--seconds", seconds)
    found = finish_load(load)
    cpu = {
        f"cpu_{end}_s_gib": (cpu_s(pids) - before[end]) * GIB / found["bytes"]
        for end, pids in path.pids.items()
    }
    if "cpu_s" in found:  # Whoever makes the load carries it too.
        cpu["cpu_client_s_gib"] = found["cpu_s"] * GIB / found["bytes"]
    return {"mb_s": found["mb_s"], "least_share": found["least_share"], **cpu}


def measure_times(what: str, path: Way, seconds: float) -> Figures:
    """Percentiles in ms, and microseconds of processor time at each end for each round trip or
    connection: they hold still where times don't, on a machine that others load too."""
    before = {end: cpu_s(pids) for end, pids in path.pids.items()}
    found = finish_load(start_load(path, what, ECHO, "--seconds", seconds))
    cpu = {
        f"cpu_{end}_us": (cpu_s(pids) - before[end]) * 1e6 / found["count"]
        for end, pids in path.pids.items()
    }
    return found | cpu


def measure_under_load(way: str, path: Way, seconds: float) -> Figures:
    """Round trips while one bulk stream goes `way`, and how fast that is meanwhile."""
    bulk = start_load(path, way, SERVICES[way], "--seconds", seconds + 0.5)
    subprocess.run(["sleep", "0.3"], check=True)
    trips = finish_load(start_load(path, "round-trip", ECHO, "--seconds", seconds - 0.1))
    return trips | {"bulk_mb_s": finish_load(bulk)["mb_s"]}


Measure = Callable[[Way, float], Figures]

MEASURES: dict[str, Measure] = {
    **{
        f"{way}_{streams}": partial(measure_throughput, way, streams)
        for way in ("up", "down")
        for streams in (1, 8, 64)
    },
    "round_trip": partial(measure_times, "round-trip"),
    "connect": partial(measure_times, "connect"),
    "connections": partial(measure_times, "connections"),
    "round_trip_under_up": partial(measure_under_load, "up"),
    "round_trip_under_down": partial(measure_under_load, "down"),
}
