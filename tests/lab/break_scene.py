"""The table of docs/breaks.md, faults that several tests make, and what becomes of a connection."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api_client import ask

from ktnet.lab.harness import Lab

TABLE = Path(__file__).parents[2] / "docs" / "breaks.md"
ECHO = 7001
API_SERVER = "192.168.64.1"


@dataclass
class Row:
    """A line of the table."""

    noticed_s: float
    back_s: float
    lost: str
    leftovers: str


def read_table() -> dict[str, Row]:
    rows = {}
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"\d+ s", cells[1]):
            rows[cells[0]] = Row(float(cells[1][:-2]), float(cells[2][:-2]), cells[3], cells[4])
    return rows


def filter_packets(lab: Lab, verdict: str) -> Callable[[], object]:
    table = f"""
    table ip broken {{
      chain out {{
        type filter hook output priority 0
        ip daddr {API_SERVER} tcp dport 6443 {verdict}
      }}
    }}
    """
    subprocess.run(lab.exec("nft", "-f", "-"), input=table, text=True, check=True)
    return lambda: lab.run("nft", "delete", "table", "ip", "broken")


def find_jobs(lab: Lab) -> list[str]:
    """Their names."""
    return [str(obj["metadata"]["name"]) for obj in find(lab) if obj["kind"] == "Job"]


def find(lab: Lab) -> list[dict[str, Any]]:
    """The session's objects, by kind."""
    found = []
    for kind, path in (
        ("Job", "/apis/batch/v1/namespaces/demo/jobs"),
        ("Lease", "/apis/coordination.k8s.io/v1/namespaces/demo/leases"),
        ("Pod", "/api/v1/namespaces/demo/pods"),
    ):
        listed = ask(lab, "GET", f"{path}?labelSelector=app.kubernetes.io/managed-by%3Dktnet")
        found += [{"kind": kind, **obj} for obj in listed["items"]]
    return found


def hold_flow() -> str:
    """Says when a connection is open, and returns what becomes of it."""
    with socket.create_connection(("streams.demo", ECHO), 10.0) as stream:
        stream.settimeout(60.0)
        stream.sendall(b"!")
        stream.recv(1)
        print("open", flush=True)
        try:
            return repr(stream.recv(1))
        except OSError as error:
            return type(error).__name__


def open_held_flow(lab: Lab) -> subprocess.Popen[str]:
    """A process on the laptop that says what became of its connection."""
    code = "import break_scene as t; print(t.hold_flow())"
    return subprocess.Popen(
        lab.exec(sys.executable, "-c", code),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
