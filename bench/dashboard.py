"""What being looked at costs a tunnel: throughput with and without, interleaved in one run.

    sudo .venv/bin/python bench/dashboard.py [--rounds 9] [--seconds 4] [--status-every 5]

Brings up a lab with a connected laptop and a `ktnet dashboard` on it. Each round measures, in turn
and turned round each time: nobody looks; a page is open (its stream is read as a browser would,
without drawing); a page is open and `ktnet status --local -o json` is run again and again. Printed
are medians in MB/s and, with the middle half of the rounds, the ratios to "nobody" in the same
round.

And, which other load on the machine doesn't blur: the share of a core that session and dashboard
spend while a page is open and no byte is carried.

`ktnet status` is a Python that starts each time, on the cores that the tunnel needs.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ktnet.lab.harness import KTNET, Lab, open_connection, open_lab

DISCARD, SOURCE = 7006, 7003
HOST = "streams.demo"
PIECE = bytes(1 << 18)
IDLE_S = 20.0
WAYS = ("nobody", "page", "page and status")
DIRECTIONS = ("up", "down")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="at least 2")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--status-every", type=float, default=5.0)
    options = parser.parse_args()
    rounds = []
    with (
        open_lab(f"look-{os.getpid()}") as lab,
        open_connection(lab, show=lambda _: None) as connection,
        open_dashboard(lab) as (url, pid),
    ):
        shares = measure_shares(lab, url, {"session": connection.pid, "dashboard": pid})
        for number in range(options.rounds):
            ways = WAYS if number % 2 else WAYS[::-1]
            rounds.append({way: measure(lab, url, way, options) for way in ways})
            print(json.dumps(rounds[-1]), file=sys.stderr)
    for name, by_way in shares.items():
        told = ", ".join(f"{way} {share:.2%}" for way, share in by_way.items())
        print(f"{name}'s share of a core: {told}")
    show(rounds)


def measure_shares(lab: Lab, url: str, pids: dict[str, int]) -> dict[str, dict[str, float]]:
    """By process and way; of IDLE_S each."""
    shares: dict[str, dict[str, float]] = {name: {} for name in pids}
    for way in WAYS[:2]:
        with contextlib.ExitStack() as stack:
            if way != "nobody":
                stack.enter_context(open_background(lab, read_stream, url))
            before = {name: read_cpu_s(pid) for name, pid in pids.items()}
            time.sleep(IDLE_S)
            for name, pid in pids.items():
                shares[name][way] = (read_cpu_s(pid) - before[name]) / IDLE_S
    return shares


def read_cpu_s(pid: int) -> float:
    """User and system time: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(lab: Lab, url: str, way: str, options: argparse.Namespace) -> dict[str, float]:
    """MB/s by direction while that goes on."""
    with contextlib.ExitStack() as stack:
        if way != "nobody":
            stack.enter_context(open_background(lab, read_stream, url))
        if way == "page and status":
            stack.enter_context(open_background(lab, run_status, options.status_every))
        transfer = {"up": send, "down": receive}
        return {each: lab.call(transfer[each], options.seconds) / 1e6 for each in DIRECTIONS}


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


@contextlib.contextmanager
def open_background(lab: Lab, function, *arguments):
    """A function that runs on the laptop until it is killed; it is under way from the start."""
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=run_inside, args=(lab, begun, function, arguments))
    process.start()
    begun.wait()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def run_inside(lab: Lab, begun, function, arguments: tuple) -> None:
    from ktnet.lab.node.laptop import enter

    enter(int((lab.directory / "laptop-1.pid").read_text().split()[0]))
    function(begun, *arguments)


def read_stream(begun, url: str) -> None:
    where, _, token = url.partition("/#token=")
    connection = http.client.HTTPConnection(where.removeprefix("http://"))
    connection.request("GET", "/api/v1/stream", headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    while response.readline():
        begun.set()


def run_status(begun, every_s: float) -> None:
    begun.set()
    while True:
        command = [*KTNET, "status", "--local", "-o", "json"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        time.sleep(every_s)


def send(seconds: float) -> float:
    """Octets a second to a server that counts them."""
    with socket.create_connection((HOST, DISCARD)) as stream:
        start_s = time.perf_counter()
        while time.perf_counter() - start_s < seconds:
            stream.sendall(PIECE)
        stream.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
        return json.loads(answer)["bytes"] / (time.perf_counter() - start_s)


def receive(seconds: float) -> float:
    """Octets a second from a server that sends as fast as it can."""
    buffer, count = bytearray(1 << 20), 0
    with socket.create_connection((HOST, SOURCE)) as stream:
        stream.sendall(b"%d\n" % (1 << 40))
        start_s = time.perf_counter()
        while time.perf_counter() - start_s < seconds:
            count += stream.recv_into(buffer)
        return count / (time.perf_counter() - start_s)


def show(rounds: list[dict[str, dict[str, float]]]) -> None:
    for direction in DIRECTIONS:
        for way in WAYS:
            rates = [each[way][direction] for each in rounds]
            ratios = sorted(each[way][direction] / each["nobody"][direction] for each in rounds)
            low, _, high = statistics.quantiles(ratios, n=4)
            print(
                f"{direction:4} {way:16} {statistics.median(rates):7.1f} MB/s   "
                f"ratio {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})"
            )


if __name__ == "__main__":
    main()
