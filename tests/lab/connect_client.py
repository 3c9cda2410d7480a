"""A `ktnet connect` under stress: its two streams, its helper, its shadow, and what it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api_client import ask
from forked_command import Forked, ask_command

from ktnet.lab.harness import BECOME, KTNET, Connection, Lab

HOST_STATE = ("link", "address", "route", "rule", "/etc/resolv.conf", "/etc/hosts")
OBJECTS = ("jobs", "leases", "pods", "services", "secrets", "configmaps", "serviceaccounts")
CONNECT = (*KTNET, "connect", "-n", "demo")
IDLE_S = 5
TTL_S = 10
"""`ttlSecondsAfterFinished` of the session's Job."""
BEGUN_S = 0.15
"""Of a processor: Python's start takes 0.03, and `ktnet --help` the whole of 0.12."""
END_TIMEOUT_S = 30.0


class Client:
    """A started client; `lines` is what it has said on stdout so far."""

    def __init__(self, process: subprocess.Popen[str] | Forked) -> None:
        self.process = process
        self.pid = process.pid
        self.lines: list[str] = []

    def wait_for(self, text: str) -> None:
        """Reads until a line has `text` in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"{self.lines} and then exit code {self.process.wait()}")

    def wait_until_executed(self) -> None:
        """Until what enters the laptop has become the client itself."""
        wait_until(lambda: not {"nsenter", BECOME} & set(self.read_command_line()))

    def wait_until_begun(self) -> None:
        """Until it is past Python's own start, in which an interrupt is Python's to tell of."""
        self.wait_until_executed()
        before_s = read_processor_s(self.pid)
        wait_until(lambda: read_processor_s(self.pid) - before_s >= BEGUN_S)

    def read_command_line(self) -> list[str]:
        return read_command_line(self.pid)

    def find_helper(self) -> int | None:
        """The pid of its helper, where it has one."""
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
                if "ktnet.host.helper" in read_command_line(int(child)):
                    return int(child)
        return None

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Sends a signal and waits: exit code and stderr."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, timeout_s: float = END_TIMEOUT_S) -> tuple[int, str]:
        """Exit code and stderr."""
        out, err = self.process.communicate(timeout=timeout_s)
        self.lines += out.splitlines(keepends=True)
        return self.process.returncode, err


@contextmanager
def open_client(lab: Lab, *options: str, laptop: int = 1) -> Iterator[Client]:
    """A client that has just begun; gone afterwards, though perhaps not what it made."""
    words = ("connect", "-n", "demo", "--idle", str(IDLE_S), *options)
    with Forked(lab, *words, laptop=laptop) as process:
        yield Client(process)


@contextmanager
def start_client(lab: Lab, *options: str, around: tuple[str, ...] = ()) -> Iterator[Client]:
    """The same, from Python's very start, with a command line and an environment of its own.

    `around` is a command that becomes the one that follows it.
    """
    process = subprocess.Popen(
        lab.exec(*around, *CONNECT, "--idle", str(IDLE_S), *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            yield Client(process)
        finally:
            process.kill()


@contextmanager
def open_ready_client(lab: Lab, *options: str) -> Iterator[Client]:
    """The same, connected."""
    with open_client(lab, *options) as client:
        client.wait_for("ready")
        yield client


@contextmanager
def open_connection(lab: Lab, *options: str) -> Iterator[Connection]:
    """As `ktnet.lab.harness.open_connection`, but forked."""
    start_s = time.monotonic()
    with Forked(lab, "connect", "-n", "demo", *options) as process:
        Client(process).wait_for("ready")
        try:
            yield Connection(process, time.monotonic() - start_s)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(END_TIMEOUT_S)


def read_command_line(pid: int) -> list[str]:
    """proc_pid_cmdline(5); empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def read_session(lab: Lab) -> dict[str, Any]:
    """What `ktnet status` says of the one session."""
    (session,) = json.loads(ask_command(lab, "status", "-o", "json"))["sessions"]
    return dict(session)


def find_shadow(lab: Lab, pod: str) -> int:
    """The process of a shadow pod, known by the key that only this session has."""
    spec = ask(lab, "GET", f"/api/v1/namespaces/demo/pods/{pod}")["spec"]
    key = next(word for word in spec["containers"][0]["args"] if word.startswith("ssh-ed25519"))
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    (found,) = [pid for pid in pids if {key, "ktnet.shadow"} <= set(read_command_line(pid))]
    return found


def count_descriptors(pid: int) -> int:
    """But for connections to the API server, which are kept for later requests or made anew."""
    ours = find_api_sockets(pid)
    return sum(link not in ours for link in map(read_link, Path(f"/proc/{pid}/fd").iterdir()))


def find_api_sockets(pid: int) -> set[str]:
    """As /proc/PID/fd names them: by the inodes in proc_net(5) whose other end is port 6443."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return {f"socket:[{each[9]}]" for each in fields if each[2].endswith(f":{6443:04X}")}


def read_link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # closed meanwhile
        return ""


def read_resident_bytes(pid: int) -> int:
    """VmRSS of proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


def differences(before: dict[str, Any], after: dict[str, Any], *kinds: str) -> list[str]:
    return [f"{k}: {before[k]!r} -> {after[k]!r}" for k in kinds if before[k] != after[k]]


def read_processor_s(pid: int) -> float:
    """How long a process has had a processor: proc(5), utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Polls until it holds; fails after `limit_s`.

    Where asking takes long, it leaves time to what is waited for.
    """
    start_s = asked_s = time.monotonic()
    while not condition():
        now_s = time.monotonic()
        assert now_s - start_s < limit_s, "it did not become true in time"
        time.sleep(min(max(0.01, now_s - asked_s), 0.1))
        asked_s = time.monotonic()
