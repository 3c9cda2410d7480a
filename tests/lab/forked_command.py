"""ktnet's commands on a laptop of a lab, without the second that Python takes to load each of them.

A process that has loaded what they need (conftest.py) is forked for each. The fork enters the
laptop as `ktnet lab exec` does, and is then the command: a process of its own, with sockets of its
own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import NamedTuple

from ktnet.cli import main
from ktnet.lab.entering import enter
from ktnet.lab.harness import Lab

_CONTEXT = multiprocessing.get_context("forkserver")


class Ended(NamedTuple):
    """A command that has ended, by itself or not."""

    code: int
    """Exit code; the negative number of the signal that killed it."""
    out: str
    err: str


def run_command(lab: Lab, *words: str, laptop: int = 1) -> Ended:
    """`ktnet WORDS`, until it ends; once it is "ready" it is interrupted."""
    reading, writing = _CONTEXT.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile("w+") as err, reading:
        holder = int((lab.directory / f"laptop-{laptop}.pid").read_text().split()[0])
        kubeconfig = str(lab.directory / "kubeconfig")
        process = _CONTEXT.Process(
            target=_become, args=(holder, kubeconfig, list(words), writing, err.name)
        )
        process.start()
        try:
            writing.close()
            lines = []
            with open(reading.fileno(), closefd=False) as out:
                for line in out:
                    lines.append(line)
                    if line.startswith("ready"):
                        assert process.pid is not None
                        os.kill(process.pid, signal.SIGINT)
            process.join(60)
        finally:
            process.kill()
            process.join()
        assert process.exitcode is not None
        return Ended(process.exitcode, "".join(lines), Path(err.name).read_text())


def _become(holder: int, kubeconfig: str, words: list[str], out: Pipe, err: str) -> None:
    os.dup2(out.fileno(), 1)
    out.close()
    os.dup2(os.open(err, os.O_WRONLY | os.O_APPEND), 2)
    # Whatever the forked process had made of them.
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    enter(holder)
    os.environ["KUBECONFIG"] = kubeconfig
    sys.argv = ["ktnet", *words]
    main()
