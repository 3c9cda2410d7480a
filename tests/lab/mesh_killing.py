"""A client that the API server kills, by SIGKILL, at one of its requests; and time that passes."""

from __future__ import annotations

import signal
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from inbound_scene import Command, kubectl, open_command

from ktnet.cluster.shadow.manifests import build_micro_time
from ktnet.lab.harness import Lab

LONGEST_END_S = 60.0
"""A router's pods take 35 s at most to send their clients away."""


def run_until_killed(lab: Lab, command: tuple[str, ...], **fault: Any) -> bool:
    """Whether it was killed: from its beginning to its end, there may be fewer requests."""
    lab.fault("on-request", deed="kill", agent="ktnet/*", **fault)
    try:
        with open_command(lab, *command) as client:
            if wait_for_ready(client):
                client.process.send_signal(signal.SIGINT)
            code, err = client.wait(LONGEST_END_S)
        (told,) = lab.fault("show")["requests"]
    finally:
        lab.fault("clear")
    assert "Traceback" not in err, err
    assert (code == -signal.SIGKILL) == bool(told["killed"]), (code, err)
    return bool(told["killed"])


def wait_for_ready(client: Command) -> bool:
    assert client.process.stdout is not None
    return any(line.startswith("ready") for line in client.process.stdout)


def list_leases(lab: Lab) -> set[str]:
    """Of all sessions."""
    return {name.partition("/")[2] for name in kubectl(lab, "get", "leases", "-o", "name").split()}


def make_old(lab: Lab, besides: Collection[str] = ()) -> None:
    """As if the holders of all Leases besides these had been silent for long."""
    renewed = build_micro_time(datetime.now(UTC) - timedelta(seconds=1000))
    patch = f'{{"spec": {{"renewTime": "{renewed}"}}}}'
    if old := list_leases(lab).difference(besides):
        kubectl(lab, "patch", "lease", *old, "--type=merge", f"--patch={patch}")
