"""Whole ways into a lab cluster, side by side: `ktnet connect` and `forward`, by both dialling
ways, `ssh -L`, sshuttle, the raw veth path, and the port-forward by itself (`websocket`): the API
server of the lab is Python, so what goes through it is compared with that.

    sudo .venv/bin/python bench/cluster.py [--rounds 3] [--seconds 1] [--only ...] [--paths ...]

Each way has a laptop of its own. The peers' server is another laptop, and what they lead to a
third, which runs the same `streams` workload as the cluster: as many veth pairs and bridges as for
ktnet, whose shadow and workload are pods, but no Service in between.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from measures import MEASURES, Figures, Way
from openssh import (
    build_client_command,
    build_keys,
    descendants,
    find_session,
    open_forwards,
    open_sshd,
    read_title,
)
from peers import find_sshd, find_sshuttle
from rounds import run_rounds, show, summarise

from ktnet.lab import traffic
from ktnet.lab.harness import KTNET, Lab, open_connection, open_lab
from ktnet.lab.state import LabDirectory

ECHO, SOURCE, DISCARD = 7001, 7003, 7006
SERVICES = [ECHO, SOURCE, DISCARD]
LAPTOPS = {
    "server": 1,
    "ssh": 2,
    "tun": 3,
    "tun_pf": 4,
    "fwd": 5,
    "fwd_pf": 6,
    "sshuttle": 7,
    "target": 8,
    "websocket": 9,
    "sshuttle_nlc": 10,
    "raw": 11,
}
SERVER = "192.168.64.10"
TARGET = "192.168.64.17"
BEHIND = "10.77.0.1"
"""An address of the target's that only the server has a route to: sshuttle's to bring there."""

OTHER_REFERENCES = {"sshuttle": ("throughput",), "websocket": ("throughput", "cpu_client")}
"""Ways beside ssh that all others are compared with, and in what."""

FEWER = tuple(name for name in MEASURES if not name.endswith("_64"))
"""For ways that 64 streams say nothing new of: of sshuttle they break some (it waits by select(2)
for seconds), and by port-forward the lab's API server is what is measured."""

LATENCY = ("up_1", "down_1", "round_trip_under_up", "round_trip_under_down")
"""What sshuttle's control of latency has a part in."""

FIND_SERVICE = """
import os, pathlib
from ktnet.lab.census import open_api
get = open_api(pathlib.Path(os.environ["KUBECONFIG"]))
print(get("/api/v1/namespaces/demo/services/streams")["spec"]["clusterIP"])
"""


FIND_POD = """
import os, pathlib
from ktnet.lab.census import open_api
get = open_api(pathlib.Path(os.environ["KUBECONFIG"]))
pods = get("/api/v1/namespaces/demo/pods?labelSelector=app%3Dstreams")["items"]
print(pods[0]["metadata"]["name"])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--paths", default="")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = options.paths.split(",") if options.paths else []
    names = options.only.split(",") if options.only else list(MEASURES)
    with open_scene() as scene, open_ways(scene, wanted) as ways:
        result = measure(ways, options.rounds, options.seconds, names)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


@dataclass(frozen=True)
class Scene:
    """A lab with what the peers lead to, and no way open yet."""

    lab: Lab
    directory: Path
    """With the peers' keys."""
    sshd: subprocess.Popen


@dataclass(frozen=True)
class OpenWay:
    """A way that is open."""

    way: Way
    start: Figures
    """Seconds until it was ready, MiB at each end when it was."""


def measure(ways: list[OpenWay], rounds: int, seconds: float, names: list[str]) -> dict:
    """Medians and ratios."""
    rounds_ = run_rounds([each.way for each in ways], names, rounds, seconds)
    result = summarise(rounds_, "ssh")
    for reference in {each.way.name for each in ways} & OTHER_REFERENCES.keys():
        for name, ratio in summarise(rounds_, reference)["ratios"].items():
            if name.startswith(OTHER_REFERENCES[reference]):
                result["ratios"][name] = ratio
    result["medians"]["start"] = {each.way.name: each.start for each in ways}
    return result


@contextlib.contextmanager
def open_scene() -> Iterator[Scene]:
    """Brings the lab up and takes it down."""
    find_sshd()
    find_sshuttle()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lab = stack.enter_context(open_lab(f"bench-{os.getpid()}", "--laptops", str(len(LAPTOPS))))
        yield Scene(lab, directory, open_far_end(lab, directory, stack))


@contextlib.contextmanager
def open_ways(scene: Scene, wanted: Collection[str] = ()) -> Iterator[list[OpenWay]]:
    """All ways or the wanted ones, opened one after the other."""
    with contextlib.ExitStack() as stack:
        ways = []
        for name, opener in build_openers(scene.lab, scene.directory).items():
            if wanted and name not in wanted:
                continue
            before = list_server_pids(scene)
            start_s = time.monotonic()
            way = stack.enter_context(opener)
            ready_s = time.monotonic() - start_s
            if way.pids:
                way.pids["server"] = sorted(list_server_pids(scene) - before)
            ways.append(OpenWay(way, {"ready_s": ready_s, **read_memory(way)}))
        yield ways


def read_memory(way: Way) -> Figures:
    """MiB of resident memory at each end, what its processes share counted once for each."""
    return {f"rss_{end}_mib": sum(map(read_rss_mib, pids)) for end, pids in way.pids.items()}


def list_server_pids(scene: Scene) -> set[int]:
    """The sessions of sshd and the shadows of this lab, none of them about to end."""
    node = LabDirectory(scene.lab.name).read_running().daemon.pid
    shadows = {pid for pid in descendants(node) if "-m ktnet.shadow " in read_title(pid)}
    return shadows | set(find_session(scene.sshd))


def open_far_end(lab: Lab, directory: Path, stack: contextlib.ExitStack) -> subprocess.Popen:
    """What the peers lead to: their sshd, and behind it the target."""
    build_keys(directory)
    server = prefix_of(lab, "server")
    target = prefix_of(lab, "target")
    start(stack, [*target, sys.executable, "-m", "ktnet.lab.workloads.streams"])
    subprocess.run([*target, "ip", "address", "add", f"{BEHIND}/32", "dev", "lo"], check=True)
    route = ["ip", "route", "add", f"{BEHIND}/32", "via", TARGET, "congctl", "cubic"]
    subprocess.run([*server, *route], check=True)
    sshd = stack.enter_context(open_sshd(directory, SERVER, server))
    wait_for_port(lab, "server", SERVER, 2200)
    return sshd


def build_openers(lab: Lab, directory: Path) -> dict[str, contextlib.AbstractContextManager]:
    """Each way, not yet open."""
    return {
        "raw": open_raw(lab),
        "ssh": open_ssh(lab, directory),
        "tun": open_tun(lab, "tun", "direct"),
        "tun_pf": open_tun(lab, "tun_pf", "port-forward", only=FEWER),
        "fwd": open_forward(lab, "fwd", "direct"),
        "fwd_pf": open_forward(lab, "fwd_pf", "port-forward", only=FEWER),
        "sshuttle": open_sshuttle(lab, directory, "sshuttle", only=FEWER),
        "sshuttle_nlc": open_sshuttle(
            lab, directory, "sshuttle_nlc", "--no-latency-control", only=LATENCY
        ),
        "websocket": open_websocket(lab),
    }


def prefix_of(lab: Lab, name: str) -> tuple[str, ...]:
    """Runs a command on the laptop, at once; `ktnet lab exec` also says where the cluster is."""
    pid = (lab.directory / f"laptop-{LAPTOPS[name]}.pid").read_text().strip()
    return ("nsenter", "--target", pid, "--net", "--mount", "--wdns=/")


def start(stack: contextlib.ExitStack, command: list[str]) -> subprocess.Popen:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def wait_for_port(lab: Lab, name: str, host: str, port: int, timeout_s: float = 90.0) -> None:
    """Until something answers there, as seen from that laptop."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        outcome, _ = lab.call(traffic.try_connect, host, port, 2.0, laptop=LAPTOPS[name])
        if outcome == "connected":
            return
    raise RuntimeError(f"{name}: nobody answers on {host}:{port}")


@contextlib.contextmanager
def open_raw(lab: Lab) -> Iterator[Way]:
    yield Way("raw", TARGET, 0, {}, prefix_of(lab, "raw"))


@contextlib.contextmanager
def open_ssh(lab: Lab, directory: Path) -> Iterator[Way]:
    prefix = prefix_of(lab, "ssh")
    with open_forwards(directory, SERVER, 1000, SERVICES, prefix, TARGET) as client:
        wait_for_port(lab, "ssh", "127.0.0.1", ECHO + 1000)
        yield Way("ssh", "127.0.0.1", 1000, {"client": [client.pid]}, prefix)


@contextlib.contextmanager
def open_tun(lab: Lab, name: str, via: str, only: tuple[str, ...] = ()) -> Iterator[Way]:
    laptop = LAPTOPS[name]
    with open_connection(lab, "--via", via, laptop=laptop, show=lambda _: None) as connection:
        pids = {"client": descendants(connection.pid)}
        yield Way(name, find_service(lab), 0, pids, prefix_of(lab, name), only=only)


def find_service(lab: Lab) -> str:
    """An address, as the peers get one: a name would be asked for with every connection."""
    return lab.run(sys.executable, "-c", FIND_SERVICE).strip()


@contextlib.contextmanager
def open_forward(lab: Lab, name: str, via: str, only: tuple[str, ...] = ()) -> Iterator[Way]:
    prefix = prefix_of(lab, name)
    ports = [f"{port + 1000}:{port}" for port in SERVICES]
    process = subprocess.Popen(
        [
            *lab.exec(laptop=LAPTOPS[name]),
            *KTNET,
            "forward",
            "-n",
            "demo",
            "--via",
            via,
            find_service(lab),
            *ports,
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_port(lab, name, "127.0.0.1", ECHO + 1000)
        pids = {"client": descendants(process.pid)}
        yield Way(name, "127.0.0.1", 1000, pids, prefix, only=only)
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def open_websocket(lab: Lab) -> Iterator[Way]:
    """What the port-forward alone lets through: no SSH, no shadow."""
    pod = lab.run(sys.executable, "-c", FIND_POD).strip()
    load = Path(__file__).parent / "websocket.py"
    only = ("up_1", "up_8", "down_1", "down_8")
    yield Way("websocket", pod, 0, {}, tuple(lab.exec(laptop=LAPTOPS["websocket"])), load, only)


@contextlib.contextmanager
def open_sshuttle(
    lab: Lab, directory: Path, name: str, *options: str, only: tuple[str, ...] = ()
) -> Iterator[Way]:
    prefix = prefix_of(lab, name)
    # It redirects what is routed, wherever to: so here to nobody.
    route = ["ip", "route", "replace", f"{BEHIND}/32", "via", "192.168.64.250"]
    subprocess.run([*prefix, *route], check=True)
    ssh = " ".join(build_client_command(directory))
    process = subprocess.Popen(
        [
            *(*prefix, find_sshuttle(), "--method", "nft", "-e", ssh, "-r", f"root@{SERVER}"),
            *(f"{BEHIND}/32", "--python", sys.executable, *options),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(lab, name, BEHIND, ECHO)
        pids = {"client": descendants(process.pid)}
        yield Way(name, BEHIND, 0, pids, prefix, only=only)
    finally:
        process.terminate()
        process.wait()


def read_rss_mib(pid: int) -> float:
    """Resident memory (proc_pid_status(5)); a process that has ended has none."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
