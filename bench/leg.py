"""The SSH leg alone: `ssh -L` beside ktnet's own link and shadow, on a loopback of their own.

    sudo .venv/bin/python bench/leg.py [--rounds 5] [--seconds 1] [--only up_1,down_1] [--json]

Each round measures every path in turn; ratios are medians of the rounds' ratios.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

from measures import MEASURES, Way
from namespace import enter_new_namespace
from peers import find_ssh, find_sshd
from rounds import run_rounds, show, summarise

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
    find_sshd()  # where there is still a network
    enter_new_namespace()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = start([PYTHON, "-m", "ktnet.lab.workloads.streams"], "listening", stderr=DEVNULL)
        stack.callback(stop, server)
        paths = [
            Way("raw", "127.0.0.1", 0, {}),
            stack.enter_context(open_ssh(directory)),
            stack.enter_context(open_ktnet(directory)),
        ]
        if options.paths:
            paths = [path for path in paths if path.name in options.paths.split(",")]
        names = options.only.split(",") if options.only else list(MEASURES)
        rounds = run_rounds(paths, names, options.rounds, options.seconds)
    result = summarise(rounds, "ssh")
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


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
    """sshd as root without a log-in shell being used, and `ssh -L` to the three services."""
    sshd, environment = find_sshd()
    prepare_sshd(directory)
    options = [
        *("-p", "2200", "-o", f"HostKey={directory}/host", "-o", "ListenAddress=127.0.0.1"),
        *("-o", f"AuthorizedKeysFile={directory}/client.pub", "-o", "StrictModes=no"),
        *("-o", "PidFile=none", "-o", "UsePAM=no", "-o", "PermitRootLogin=yes"),
        *("-o", "MaxSessions=1000"),
    ]
    server = subprocess.Popen(
        [sshd, "-D", "-e", "-f", "/dev/null", *options],
        env={**os.environ, **environment},
        stderr=DEVNULL,
    )
    forwards = [f"-L127.0.0.1:{port + 1000}:127.0.0.1:{port}" for port in (ECHO, SOURCE, DISCARD)]
    client = subprocess.Popen(
        [
            *(find_ssh(), "-F", "none", "-N", "-p", "2200", "-i", str(directory / "client")),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "LogLevel=ERROR", "-o", "ConnectionAttempts=20", "-c", CIPHER, *forwards),
            "root@127.0.0.1",
        ]
    )
    try:
        wait_for_port(ECHO + 1000)
        yield Way("ssh", "127.0.0.1", 1000, {"client": [client.pid], "server": children(server)})
    finally:
        stop(client)
        stop(server)


CIPHER = "aes128-gcm@openssh.com"


def prepare_sshd(directory: Path) -> None:
    """Keys, and the user and directory that sshd separates its privileges with."""
    for name in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    users = Path("/etc/passwd").read_text()
    if "\nsshd:" not in users:
        mine = directory / "passwd"
        mine.write_text(users + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
        subprocess.run(["mount", "--bind", str(mine), "/etc/passwd"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    Path("/run/sshd").mkdir(mode=0o755)


def children(process: subprocess.Popen) -> list[int]:
    """A process and what descends from it."""
    found = [process.pid]
    for pid in found:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        found += [int(word) for word in text.split()]
    return found


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
