"""What being looked at costs a tunnel, in throughput and in processor time for each GiB.

    sudo .venv/bin/python bench/dashboard.py [--rounds 12] [--seconds 10] [--json]

Brings up a lab with a connected laptop and a `ktnet dashboard` on it; directly, since by
port-forward the lab's API server, which is Python too, is what is measured. In each direction one
connection carries as much as it can, all the time: what two connections make of their starts
differs by more than what is asked here. Meanwhile a round has a slot in which nobody looks and one
in which somebody does, in turns first: a page is open (its stream is read as a browser would,
without drawing), and `ktnet status --local -o json` is run once. As long as a slot is the page's
interval between two looks at the cluster (10 s), as much is looked at in it as in any ten seconds
of a whole day.

Each round gives a ratio, looked at to not, so what else the machine does meets both. Printed are
the median of the ratios and, by the bootstrap, between what it lies with 95 % confidence:

- of throughput;
- of processor time for each GiB, of session, shadow, dashboard and status together. Other load on
  the machine changes it much less.

And the ratios of the sums; and the share of a core that session and dashboard spend when no byte
is carried. Takes about 4 * rounds * seconds, and a minute. Exits with 1 where an overhead is above
`--most` (3 %), and that isn't for chance: the interval's better end is above it too.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ktnet.lab.harness import KTNET, Lab, open_connection, open_lab

DISCARD, SOURCE = 7006, 7003
HOST = "streams.demo"
PIECE = bytes(1 << 18)
GIB = 1 << 30
IDLE_S = 10.0
DIRECTIONS = ("up", "down")
WAYS = ("nobody", "looked at")
BEGUN_EVENTS = 2
RESAMPLES = 4000


@dataclass
class Plan:
    """What the process on the laptop is to do."""

    rounds: int
    seconds: float
    url: str
    pids: dict[str, int]
    """Whose processor time counts, by name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help="at least 2")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--via", default="direct", help="or port-forward")
    parser.add_argument("--most", type=float, default=3.0, help="per cent of overhead")
    parser.add_argument("--json", action="store_true", help="print all figures of all rounds too")
    options = parser.parse_args()
    with (
        open_lab(f"look-{os.getpid()}") as lab,
        open_connection(lab, "--via", options.via, show=lambda _: None) as connection,
        open_dashboard(lab) as (url, pid),
    ):
        told = json.loads(lab.run(*KTNET, "status", "--local", "-o", "json"))
        shadow = find_shadow(told["sessions"][0]["pod"])
        pids = {"session": connection.pid, "shadow": shadow, "dashboard": pid}
        plan = Plan(options.rounds, options.seconds, url, pids)
        shares, rounds = lab.call(run, plan)
    if options.json:
        print(json.dumps({"shares": shares, "rounds": rounds}))
    for name, by_way in shares.items():
        words = ", ".join(f"{way} {share:.2%}" for way, share in by_way.items())
        print(f"{name}'s share of a core, idle: {words}")
    sys.exit(not show(rounds, options.most))


def find_shadow(pod: str) -> int:
    """The pod's process, known by its environment."""
    name = f"HOSTNAME={pod}".encode()
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError):
                if name in path.joinpath("environ").read_bytes().split(b"\0"):
                    return int(path.name)
    raise RuntimeError(f"no process of {pod}")


@contextlib.contextmanager
def open_dashboard(lab: Lab):
    command = lab.exec(*KTNET, "dashboard", "--no-open", "-n", "demo")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


# --- on the laptop ---


def run(plan: Plan) -> tuple[dict, list[dict]]:
    """Shares of a core by process and way, and of each round the figures by direction and way."""
    shares = measure_shares(plan)
    rounds: list[dict] = [{each: {} for each in DIRECTIONS} for _ in range(plan.rounds)]
    for direction, transfer in (("up", send), ("down", receive)):
        with open_load(transfer) as load:
            time.sleep(plan.seconds)
            for number, each in enumerate(rounds):
                for way in WAYS if number % 2 else WAYS[::-1]:
                    page = open_page(plan.url) if way == "looked at" else contextlib.nullcontext()
                    with page:
                        each[direction][way] = measure(plan, load, way)
                print(f"\r{direction} {number + 1}/{plan.rounds}", end="", file=sys.stderr)
    print("\r" + " " * 20 + "\r", end="", file=sys.stderr)
    return shares, rounds


@dataclass
class Load:
    """A connection that is busy."""

    bytes: int = 0
    """That have passed here."""
    over: bool = False


@contextlib.contextmanager
def open_load(transfer):
    """Busy while the context is open."""
    load = Load()
    thread = threading.Thread(target=transfer, args=(load,))
    thread.start()
    try:
        yield load
    finally:
        load.over = True
        thread.join()


@contextlib.contextmanager
def open_page(url: str):
    """Somebody looks, while the context is open."""
    command = [sys.executable, __file__, "--read", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stdout.readline() == "reading\n"
            yield
        finally:
            reader.kill()


def measure(plan: Plan, load: Load, way: str) -> dict[str, float]:
    """Of one slot: octets, seconds, and processor time of all that ktnet does meanwhile."""
    before_s, children_s = read_cpu_s(plan), read_children_s()
    start_s, count = time.perf_counter(), load.bytes
    if way == "looked at":
        command = [*KTNET, "status", "--local", "-o", "json"]
        # Only what has been waited for is counted.
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    time.sleep(start_s + plan.seconds - time.perf_counter())
    took_s = time.perf_counter() - start_s
    spent_s = read_cpu_s(plan) - before_s + read_children_s() - children_s
    return {"bytes": load.bytes - count, "s": took_s, "cpu_s": spent_s}


def measure_shares(plan: Plan) -> dict[str, dict[str, float]]:
    """Of a core, by process and way, with no byte carried; of IDLE_S each."""
    shares: dict[str, dict[str, float]] = {name: {} for name in plan.pids}
    for way in WAYS:
        with open_page(plan.url) if way == "looked at" else contextlib.nullcontext():
            before = {name: read_process_s(pid) for name, pid in plan.pids.items()}
            time.sleep(IDLE_S)
            for name, pid in plan.pids.items():
                shares[name][way] = (read_process_s(pid) - before[name]) / IDLE_S
    return shares


def read_cpu_s(plan: Plan) -> float:
    return sum(map(read_process_s, plan.pids.values()))


def read_process_s(pid: int) -> float:
    """Processor time of all threads, to the nanosecond (proc/PID/task/TID/schedstat of Linux's
    Documentation/scheduler/sched-stats.rst): /proc/PID/stat counts hundredths."""
    nanoseconds = 0
    for path in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            nanoseconds += int(path.joinpath("schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def read_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_stream(url: str) -> None:
    """As a page does, until killed; says when it has got what is told first, and what is told then
    every second: what a page's opening costs, it costs once."""
    where, _, token = url.partition("/#token=")
    connection = http.client.HTTPConnection(where.removeprefix("http://"))
    connection.request("GET", "/api/v1/stream", headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    events = 0
    while line := response.readline():
        if line == b"\n":  # the end of an event
            events += 1
            if events == BEGUN_EVENTS:
                print("reading", flush=True)


def send(load: Load) -> None:
    """To a server that drops it."""
    with socket.create_connection((HOST, DISCARD)) as stream:
        while not load.over:
            stream.sendall(PIECE)
            load.bytes += len(PIECE)


def receive(load: Load) -> None:
    """From a server that sends as fast as it can."""
    buffer = bytearray(1 << 20)
    with socket.create_connection((HOST, SOURCE)) as stream:
        stream.sendall(b"%d\n" % (1 << 50))
        while not load.over:
            load.bytes += stream.recv_into(buffer)


# --- what it means ---


def show(rounds: list[dict], most: float) -> bool:
    """Prints the figures; False where one is surely worse than `most` per cent."""
    fine = True
    for direction in DIRECTIONS:
        pairs = [(each[direction]["looked at"], each[direction]["nobody"]) for each in rounds]
        for name, read, better in (("throughput", rate, 1), ("CPU for a GiB", cpu_a_gib, -1)):
            ratios = [read(with_) / read(without) for with_, without in pairs]
            low, high = find_interval(ratios)
            whole = read(add(with_ for with_, _ in pairs)) / read(add(w for _, w in pairs))
            medians = [statistics.median(map(read, side)) for side in zip(*pairs, strict=True)]
            worst = (1 - high) if better > 0 else (low - 1)
            fine = fine and worst * 100 <= most
            print(
                f"{direction:4} {name:14} {medians[1]:8.3f} -> {medians[0]:8.3f}"
                f"   ratio {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})"
                f"   of the sums {whole:.3f}"
            )
    print("MB/s, and seconds; nobody -> looked at. " + ("" if fine else f"Above {most:g} %."))
    return fine


def rate(slot: dict) -> float:
    """MB/s."""
    return slot["bytes"] / slot["s"] / 1e6


def cpu_a_gib(slot: dict) -> float:
    """Seconds."""
    return slot["cpu_s"] * GIB / slot["bytes"]


def add(slots) -> dict:
    listed = list(slots)
    return {key: sum(slot[key] for slot in listed) for key in listed[0]}


def find_interval(ratios: list[float]) -> tuple[float, float]:
    """Between what the median lies, with 95 % confidence: the percentile bootstrap (Efron)."""
    chance = random.Random(1)
    medians = sorted(
        statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)
    )
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read_stream(sys.argv[2])
    else:
        main()
