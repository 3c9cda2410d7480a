"""A lab and connections to it, driven by the command line: for the demo, tests and benchmarks.

What ktnet does is used here only as its users do, so whatever these three show, a user would see.
Laptops are entered without `ktnet lab exec`, whose Python would take a tenth of a second of a
processor each time.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from ktnet.lab.census import take_census
from ktnet.lab.control import ask
from ktnet.lab.entering import enter
from ktnet.lab.faults.client import happen
from ktnet.lab.launch import add_user
from ktnet.lab.state import LabDirectory
from ktnet.lab.visit import visit

KTNET = (sys.executable, "-m", "ktnet")
END_TIMEOUT_S = 30.0

BECOME = """
cd "$0" 2> /dev/null
export KUBECONFIG="$1"
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
shift
exec "$@"
"""
"""What is left to do in a laptop's namespaces of what `ktnet lab exec` does: a directory, the
laptop's kubeconfig, a command; no proxies, which it couldn't reach."""


class Lab:
    """A lab that is up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = Path("/run/ktnet-lab") / name

    def exec(self, *command: str, laptop: int = 1) -> list[str]:
        """The command line that becomes `command` on a laptop, as `ktnet lab exec` does."""
        entered = ["nsenter", "--target", str(self.holder(laptop)), "--net", "--mount"]
        inside = ["sh", "-c", BECOME, str(Path.cwd()), str(self.directory / "kubeconfig")]
        return [*entered, *inside, *command]

    def holder(self, laptop: int = 1) -> int:
        """The process that keeps a laptop's namespaces."""
        return int((self.directory / f"laptop-{laptop}.pid").read_text())

    def run(self, *command: str, laptop: int = 1) -> str:
        """What `command` prints on a laptop; raises CalledProcessError where it fails."""
        return subprocess.run(
            self.exec(*command, laptop=laptop), stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def census(self, laptop: int = 1) -> dict[str, Any]:
        """The laptop's network state and the cluster's objects (see ktnet.lab.census)."""
        return dict(self.call(take_census, self.directory / "kubeconfig", laptop=laptop))

    def visit(self, url: str) -> dict[str, Any]:
        """One HTTP request from the laptop (see ktnet.lab.visit)."""
        return dict(self.call(visit, url))

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

    def settle(self) -> None:
        """Until the node and the cluster's DNS know all that the API holds by now.

        Who asks earlier may reach what a Service was before, or be told that there is no such
        name, which CoreDNS then remembers.
        """
        ask(LabDirectory(self.name).socket, {"do": "settle"})

    def call(self, function: Callable[..., Any], *arguments: Any, laptop: int = 1) -> Any:
        """Calls a function of an importable module inside the laptop, in a process of its own.

        It is forked from one that has loaded what `multiprocessing.set_forkserver_preload` says,
        and has the environment of this process as it was at the first call.
        """
        pid = self.holder(laptop)
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
    """Runs ktnet, whose errors are seen and whose other words aren't; CalledProcessError.

    In a process that is forked as `Lab.call`'s are.
    """
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_run_ktnet, args=(dict(os.environ), arguments))
    process.start()
    process.join()
    if process.exitcode:
        raise subprocess.CalledProcessError(process.exitcode, ["ktnet", *arguments])


def _run_ktnet(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 -- it stays open until the end
    sys.argv = ["ktnet", *arguments]
    # By its name: the lab knows nothing of the product but its command line.
    import_module("ktnet.cli").main()


class Connection:
    """A `ktnet connect` that is ready on a laptop."""

    def __init__(self, process: subprocess.Popen[str], ready_s: float) -> None:
        self.process = process
        self.pid = process.pid
        """Of the client itself: what enters the laptop becomes the command that it runs."""
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
