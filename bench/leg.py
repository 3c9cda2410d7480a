"""The SSH leg alone: `ssh -L`, our own link and shadow, and what bounds them, on one loopback.

    sudo .venv/bin/python bench/leg.py [--rounds 5] [--seconds 1] [--only up_1,down_1] [--json]

Each round measures every path in turn; ratios are medians of the rounds' ratios.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from subprocess import DEVNULL

from measures import MEASURES, Way
from namespace import enter_new_namespace
from openssh import build_keys, find_session, open_forwards, open_sshd
from peers import find_sshd
from rounds import Round, run_rounds, show, summarise

from ktnet.link.keys import new_client_key

ECHO, SOURCE, DISCARD = 7001, 7003, 7006
PYTHON = sys.executable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--paths", default="")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(MEASURES)
    wanted = options.paths.split(",") if options.paths else []
    result = run(options.rounds, options.seconds, names, wanted)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


def run(
    rounds: int, seconds: float, names: list[str], wanted: Collection[str] = (), starts: int = 1
) -> dict:
    """Medians and ratios. The calling process stays in a network namespace of its own.

    All ways are started anew `starts` times, for `rounds` each: what a start has fixed (on which
    processor whose threads settle) is the same in all of its rounds, and no median of them helps.
    """
    find_sshd()  # where there is still a network
    enter_new_namespace()
    found = [each for _ in range(starts) for each in measure(rounds, seconds, names, wanted)]
    return summarise(found, "ssh")


def measure(rounds: int, seconds: float, names: list[str], wanted: Collection[str]) -> list[Round]:
    """Rounds of one start."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        streams = [PYTHON, "-m", "ktnet.lab.workloads.streams"]
        server = start(streams, "listening", stderr=DEVNULL)
        stack.callback(stop, server)
        ways = [
            Way("raw", "127.0.0.1", 0, {}),
            stack.enter_context(open_ssh(directory)),
            stack.enter_context(open_ktnet(directory)),
            stack.enter_context(open_bound()),
        ]
        if wanted:
            ways = [way for way in ways if way.name in wanted]
        return run_rounds(ways, names, rounds, seconds)


def start(command: list[str], ready: str, **options) -> subprocess.Popen:
    """Runs it until it prints a line with `ready` in it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    for line in process.stdout:
        if ready in line:
            return process
    raise RuntimeError(f"{command[0]} ended with exit code {process.wait()}")


def stop(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


@contextlib.contextmanager
def open_ssh(directory: Path) -> Iterator[Way]:
    """sshd, and `ssh -L` to the three services."""
    build_keys(directory)
    services = [ECHO, SOURCE, DISCARD]
    with (
        open_sshd(directory, "127.0.0.1") as server,
        open_forwards(directory, "127.0.0.1", 1000, services) as client,
    ):
        wait_for_port(ECHO + 1000)
        yield Way(
            "ssh", "127.0.0.1", 1000, {"client": [client.pid], "server": find_session(server)}
        )


@contextlib.contextmanager
def open_bound() -> Iterator[Way]:
    """Two relays that only seal and open (`bound.py`)."""
    command = [PYTHON, str(Path(__file__).with_name("bound.py"))]
    services = (ECHO, SOURCE, DISCARD)
    far = start([*command, "far", *(f"{port + 4000}:{port}" for port in services)], "ready")
    near = start([*command, "near", *(f"{p + 3000}:{p + 4000}" for p in services)], "ready")
    try:
        pids = {"client": [near.pid], "server": [far.pid]}
        yield Way("bound", "127.0.0.1", 3000, pids, only=("up_1", "down_1", "round_trip"))
    finally:
        stop(near)
        stop(far)


def wait_for_port(port: int) -> None:
    """Until something listens there (proc_net(5): state 0A)."""
    wanted = f":{port:04X}"
    for _ in range(400):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return
        subprocess.run(["sleep", "0.05"], check=True)
    raise RuntimeError(f"nobody listens on port {port}")


@contextlib.contextmanager
def open_ktnet(directory: Path) -> Iterator[Way]:
    """A shadow, and a link to it."""
    key, public = new_client_key()
    (directory / "key").touch(mode=0o600)
    (directory / "key").write_bytes(key.export_private_key())
    shadow = subprocess.Popen(
        [PYTHON, "-m", "ktnet.shadow", "--authorized-key", public, "--port", "7022"],
        stdout=subprocess.PIPE,
        text=True,
    )
    host_key = ""
    for line in shadow.stdout:
        if line.startswith("ktnet-hostkey"):
            host_key = line.split(maxsplit=2)[2].strip()
        if "listening" in line:
            break
    forwards = [f"{port + 2000}:127.0.0.1:{port}" for port in (ECHO, SOURCE, DISCARD)]
    here = Path(__file__).parent
    client = start(
        [
            *(PYTHON, str(here / "link_client.py"), "127.0.0.1", "7022", host_key),
            *(str(directory / "key"), *forwards),
        ],
        "ready",
    )
    try:
        pids = {"client": [client.pid], "server": [shadow.pid]}
        yield Way("ktnet", "127.0.0.1", 2000, pids)
    finally:
        stop(client)
        stop(shadow)


if __name__ == "__main__":
    main()
