"""A lab and connections to it, driven by the command line: for the demo, tests and benchmarks.

ktnet is used here only as its users do, so whatever these three show, a user would see.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from ktnet.lab.entering import enter
from ktnet.lab.faults.client import happen
from ktnet.lab.launch import add_user

KTNET = (sys.executable, "-m", "ktnet")
END_TIMEOUT_S = 30.0


class Lab:
    """A lab that is up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = Path("/run/ktnet-lab") / name

    def exec(self, *command: str, laptop: int = 1) -> list[str]:
        """The command line that runs `command` on a laptop."""
        return [*KTNET, "lab", "exec", "--name", self.name, "--laptop", str(laptop), "--", *command]

    def run(self, *command: str, laptop: int = 1) -> str:
        """What `command` prints on a laptop; raises CalledProcessError where it fails."""
        return subprocess.run(
            self.exec(*command, laptop=laptop), stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def census(self, laptop: int = 1) -> dict[str, Any]:
        """The laptop's network state and the cluster's objects (see ktnet.lab.census)."""
        return dict(json.loads(self.run(sys.executable, "-m", "ktnet.lab.census", laptop=laptop)))

    def visit(self, url: str) -> dict[str, Any]:
        """One HTTP request from the laptop (see ktnet.lab.visit)."""
        return dict(json.loads(self.run(sys.executable, "-m", "ktnet.lab.visit", url)))

    def user(
        self,
        name: str,
        *rules: dict[str, Any],
        namespace: str = "demo",
        groups: Sequence[str] = (),
        certificate: bool = False,
    ) -> Path:
        """The kubeconfig of a user who may do what these rules say in `namespace`, and no more.

        To show that a command needs each of its rights, take away one verb after the other:

            path = lab.user("ada", {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})
            lab.run("kubectl", "--kubeconfig", str(path), "get", "pod", "db-0")

        The same name anew has the new rules, and a new token. Rules of the whole cluster: see
        `ktnet.lab.launch.add_user`, which takes ClusterRoles too.
        """
        role = {"kind": "Role", "rules": list(rules)}
        return add_user(
            self.name,
            name,
            roles=[role] if rules else [],
            namespace=namespace,
            groups=groups,
            certificate=certificate,
        )

    def fault(self, what: str, **arguments: Any) -> Any:
        """Makes something happen to the lab (see docs/lab.md); raises KtnetError."""
        return happen(self.name, what, **arguments)

    def call(self, function: Callable[..., Any], *arguments: Any, laptop: int = 1) -> Any:
        """Calls a function of an importable module inside the laptop, in a process of its own.

        It is forked from one that has loaded what `multiprocessing.set_forkserver_preload` says,
        and has the environment of this process as it was at the first call.
        """
        pid = int((self.directory / f"laptop-{laptop}.pid").read_text().split()[0])
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe()
        process = context.Process(target=_call_inside, args=(pid, theirs, function, arguments))
        process.start()
        theirs.close()
        try:
            value, error = ours.recv()
        finally:
            process.join()
            ours.close()
        if error is not None:
            raise error
        return value


def _call_inside(
    pid: int, answers: Pipe, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    enter(pid)
    try:
        answers.send((function(*arguments), None))
    except Exception as error:
        answers.send((None, error if _can_travel(error) else RuntimeError(repr(error))))


def _can_travel(error: Exception) -> bool:
    """Not all errors can leave their process: some hold a socket, some ask for more arguments."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    except Exception:
        return False
    return True


@contextmanager
def open_lab(name: str, *options: str) -> Iterator[Lab]:
    """A lab of this name, gone afterwards."""
    try:
        run_quietly("lab", "up", "--name", name, *options)
        yield Lab(name)
    finally:
        run_quietly("lab", "down", "--name", name)


def run_quietly(*arguments: str) -> None:
    """Runs ktnet, whose errors are seen and whose other words aren't."""
    subprocess.run([*KTNET, *arguments], check=True, stdout=subprocess.DEVNULL)


class Connection:
    """A `ktnet connect` that is ready on a laptop."""

    def __init__(self, process: subprocess.Popen[str], ready_s: float) -> None:
        self.process = process
        self.pid = process.pid
        """Of the client itself: `ktnet lab exec` becomes the command that it runs."""
        self.ready_s = ready_s

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Sends a signal to the client and waits; its exit code."""
        os.kill(self.pid, number)
        return self.process.wait(END_TIMEOUT_S)


@contextmanager
def open_connection(
    lab: Lab, *options: str, laptop: int = 1, show: Callable[[str], None] = print
) -> Iterator[Connection]:
    """`ktnet connect -n demo`, ready; ended afterwards where it hasn't been.

    Each line that it says goes to `show`. Raises RuntimeError where it doesn't get ready.
    """
    start_s = time.monotonic()
    process = subprocess.Popen(
        lab.exec(*KTNET, "connect", "-n", "demo", *options, laptop=laptop),
        stdout=subprocess.PIPE,
        text=True,
        # Python buffers what goes into a pipe; the steps are to be seen as they happen.
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None  # noqa: S101 -- for the type checker: it is a pipe
    try:
        for line in process.stdout:
            show(line.rstrip())
            if line.startswith("ready"):
                break
        else:
            raise RuntimeError(f"ktnet connect ended with exit code {process.wait()}")
        yield Connection(process, time.monotonic() - start_s)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=END_TIMEOUT_S)
        finally:
            process.kill()
