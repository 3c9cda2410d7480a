"""A cluster to go through a user's journeys on: one that is given, or a lab.

    KUBECONFIG=... KTNET_E2E_IMAGE=registry.example/ktnet-shadow:0.1.0 pytest tests/e2e

Nothing is assumed of the cluster but that it may make a namespace and pull that image, which also
serves as the workload: it has a Python.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workload import build_server, create_namespace, delete_namespace

from ktnet.lab.harness import open_lab
from ktnet.wire.release import VERSION

KTNET = (sys.executable, "-m", "ktnet")
TIMEOUT_S = 120.0


class Machine:
    """Where commands run, and what they need to reach the cluster."""

    def __init__(self, kubeconfig: str, image: str, inside: Callable[..., list[str]], call) -> None:
        self.kubeconfig = kubeconfig
        self.image = image
        self._inside = inside
        self.call: Callable[..., Any] = call
        """Calls a function of an importable module where the commands run."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KUBECONFIG": self.kubeconfig,
            "KTNET_IMAGE": self.image,
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._inside(*words),
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            timeout=TIMEOUT_S,
        )

    def ktnet(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(*KTNET, *words)

    def get(self, url: str, *options: str) -> str:
        """What a fresh connection brings."""
        done = self.run("curl", "-sS", "-m", "20", *options, url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, url: str, count: int = 8) -> list[str]:
        """What so many fresh connections bring, one after the other; "" for a failed one."""
        each = ("-sS", "-m", "10", "-H", "Connection: close", "-w", "\n")
        done = self.run("curl", *each, f"{url}?[1-{count}]")
        print(done.stderr)
        return done.stdout.splitlines()

    @contextmanager
    def serve(self, port: int, page: str) -> Iterator[None]:
        """A process of the user's that answers each request with that page."""
        command = self._inside(sys.executable, "-c", build_server(page, "127.0.0.1", port))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "listening\n"
                yield
            finally:
                process.kill()

    @contextmanager
    def session(self, *words: str) -> Iterator[list[str]]:
        """A ktnet that is ready, with what it has said; ended by SIGINT, in an orderly way."""
        process = subprocess.Popen(
            self._inside(*KTNET, *words),
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        said: list[str] = []
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if line.startswith("ready"):
                    break
            else:
                raise AssertionError(f"{said} and then exit code {process.wait()}")
            yield said
            process.send_signal(2)
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    image = os.environ.get("KTNET_E2E_IMAGE")
    if image:
        kubeconfig = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        yield Machine(kubeconfig, image, lambda *words: list(words), lambda f, *a: f(*a))
        return
    with open_lab(f"e2e-{os.getpid()}") as lab:
        yield Machine(
            str(lab.directory / "kubeconfig"), f"ktnet-shadow:{VERSION}", lab.exec, lab.call
        )


@pytest.fixture(scope="session")
def namespace(machine: Machine) -> Iterator[str]:
    """One of our own, with a Deployment and a Service called `web` in it."""
    name = f"ktnet-e2e-{secrets.token_hex(3)}"
    machine.call(create_namespace, machine.kubeconfig, name, machine.image)
    try:
        yield name
    finally:
        machine.call(delete_namespace, machine.kubeconfig, name)
