"""A `ktnet dashboard` on a laptop, and somebody on the laptop who asks it by HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ktnet.lab.harness import KTNET, Lab

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Dashboard:
    """One that is listening."""

    lab: Lab
    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return self.url.partition("#token=")[2]

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body, asked on the laptop with the token."""
        return self.ask("GET", path, headers=headers)

    def read(self, path: str) -> dict[str, Any]:
        status, body = self.get(path)
        assert status == 200, body
        return dict(json.loads(body))

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        given = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return self.lab.call(ask, self.port, method, path, body, given)  # type: ignore[no-any-return]


def ask(port: int, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def read_stream(port: int, token: str, looks: int) -> list[dict[str, Any]]:
    """So many looks of the stream, each as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/api/v1/stream", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        assert response.status == 200
        found: list[dict[str, Any]] = []
        event = ""
        while len(found) < looks:
            line = response.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: ") and event == "look":
                found.append(json.loads(line.removeprefix("data: ")))
        return found
    finally:
        connection.close()


@contextmanager
def open_dashboard(lab: Lab, *options: str, around: tuple[str, ...] = ()) -> Iterator[Dashboard]:
    """On the laptop; ended as by Ctrl-C afterwards, which has to leave exit code 0."""
    process = subprocess.Popen(
        lab.exec(*around, *KTNET, "dashboard", "--no-open", *options),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            assert process.stdout is not None
            yield Dashboard(lab, process, process.stdout.readline().strip())
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
