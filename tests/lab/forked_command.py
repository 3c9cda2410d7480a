"""ktnet's commands on a laptop of a lab, without the second that Python takes to load each of them.

A process that has loaded what they need (conftest.py) is forked for each. The fork enters the
laptop as `ktnet lab exec` does, and is then the command: a process of its own, with sockets of its
own. Only its command line in /proc is another's, and so is the environment there: what is about
these, or about a start, starts `lab.exec(*KTNET, ...)`.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import IO, NamedTuple

from ktnet.cli import main
from ktnet.lab.entering import enter
from ktnet.lab.harness import Lab

_CONTEXT = multiprocessing.get_context("forkserver")
END_TIMEOUT_S = 100.0
"""For a command that is to end by itself: on a machine with other work, too."""


class Ended(NamedTuple):
    """A command that has ended, by itself or not."""

    code: int
    """Exit code; the negative number of the signal that killed it."""
    out: str
    err: str


class Forked:
    """A command, with what tests use of a subprocess.Popen: stdout is a pipe, stderr a file, whose
    text `communicate` has. Gone when its context is left."""

    def __init__(self, lab: Lab, *words: str, laptop: int = 1) -> None:
        reading, writing = _CONTEXT.Pipe(duplex=False)
        with writing:
            self._err = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115  (it lives as long as this)
            environment = {**os.environ, "KUBECONFIG": str(lab.directory / "kubeconfig")}
            self._process = _CONTEXT.Process(
                target=_become,
                args=(lab.holder(laptop), environment, list(words), writing, self._err.name),
            )
            self._process.start()
        self.stdout: IO[str] = open(os.dup(reading.fileno()))  # noqa: PTH123, SIM115
        reading.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.args = ["ktnet", *words]

    @property
    def returncode(self) -> int | None:
        """As of subprocess.Popen, but that it needn't be polled for."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it still says on stdout, and all that it said on stderr; it has ended then."""
        rest: list[str] = []
        reader = threading.Thread(target=lambda: rest.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(timeout)
        return rest[0], self.read_err()

    def read_err(self) -> str:
        """What it has said on stderr so far."""
        return Path(self._err.name).read_text()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.join()
        self.stdout.close()
        self._err.close()


def run_command(lab: Lab, *words: str, laptop: int = 1) -> Ended:
    """`ktnet WORDS`, until it ends; once it is "ready" it is interrupted."""
    with Forked(lab, *words, laptop=laptop) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready"):
                process.send_signal(signal.SIGINT)
        code = process.wait(END_TIMEOUT_S)
        return Ended(code, "".join(lines), process.read_err())


def ask_command(lab: Lab, *words: str, laptop: int = 1) -> str:
    """What `ktnet WORDS` says on stdout; it has to succeed."""
    ended = run_command(lab, *words, laptop=laptop)
    assert ended.code == 0, ended
    return ended.out


def _become(
    holder: int, environment: dict[str, str], words: list[str], out: Pipe, err: str
) -> None:
    os.dup2(out.fileno(), 1)
    out.close()
    os.dup2(os.open(err, os.O_WRONLY | os.O_APPEND), 2)
    # Whatever the forked process had made of them.
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    here = Path.cwd()
    enter(holder)
    with suppress(OSError):
        os.chdir(here)
    sys.argv = ["ktnet", *words]
    gc.freeze()  # what is loaded is no garbage, and the memory of it stays shared
    main()
