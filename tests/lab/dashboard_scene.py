"""A `ktnet dashboard` on a laptop, and somebody on the laptop who asks it by HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import api_client
from dnslib import DNSRecord

from ktnet.cluster.shadow.manifests import build_labels, build_micro_time
from ktnet.lab.harness import KTNET, Lab
from ktnet.wire.record import ANNOTATION, Record, build_record_text

TIMEOUT_S = 30.0
TOMCAT = "/apis/apps/v1/namespaces/demo/deployments/tomcat"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/demo/leases"
OTHER = "bob@desk"


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
def open_dashboard(lab: Lab, *options: str, browser: str = "") -> Iterator[Dashboard]:
    """On the laptop; ended as by Ctrl-C afterwards, which has to leave exit code 0.

    `browser` is a command that it opens the page with; without one, it opens none.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if browser:
        environment |= {"DISPLAY": ":0", "BROWSER": browser}
    how = () if browser else ("--no-open",)
    process = subprocess.Popen(
        lab.exec(*KTNET, "dashboard", *how, *options),
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        try:
            assert process.stdout is not None
            yield Dashboard(lab, process, process.stdout.readline().strip())
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()


def look_up(*names: str) -> None:
    """Ask the laptop's resolver for names as they stand; the C library sends no hostile ones."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    server = next(line.split()[1] for line in lines if line.startswith("nameserver"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(TIMEOUT_S)
        asking.connect((server, 53))
        for name in names:
            asking.send(DNSRecord.question(name).pack())
            asking.recv(4096)


@contextmanager
def taken_by_the_dead(lab: Lab, session: str, holder: str = OTHER) -> Iterator[dict[str, Any]]:
    """tomcat scaled to 0 by a session that has been silent for long; the spec from before."""
    before = api_client.ask(lab, "GET", TOMCAT)["spec"]
    record = Record(session, holder, "2026-11-24T15:00:00Z", "scale", replicas=before["replicas"])
    annotations = {ANNOTATION: build_record_text(record)}
    taking = {"metadata": {"annotations": annotations}, "spec": {"replicas": 0}}
    api_client.ask(lab, "PATCH", TOMCAT, taking)
    renewed = build_micro_time(datetime.now(UTC) - timedelta(seconds=700))
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 60, "renewTime": renewed}
    metadata = {"name": session, "labels": build_labels(session, "exchange")}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    api_client.ask(lab, "POST", LEASES, lease | {"spec": spec})
    try:
        yield before
    finally:
        api_client.ask(lab, "DELETE", f"{LEASES}/{session}")
        giving_back = {"metadata": {"annotations": {ANNOTATION: None}}, "spec": before}
        api_client.ask(lab, "PATCH", TOMCAT, giving_back)
