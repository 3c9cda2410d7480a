"""SIGKILL after each step of a session's opening: the next `ktnet` command finds nothing left.

Random moments are in test_connect_faults.py, all lines of the host's part in test_host_killed.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from connect_client import (
    HOST_STATE,
    IDLE_S,
    OBJECTS,
    TTL_S,
    Client,
    differences,
    open_client,
    open_ready_client,
    wait_until,
)
from forked_command import run_command

from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab

STEPS = ("cluster", "shadow", "tunnel", "capture", "ready")
"""As the client says them; by "cluster" it has its helper."""
VICTIMS = {
    "client": ("client",),
    "worker": ("worker",),
    "supervisor": ("supervisor",),
    "helper": ("worker", "supervisor"),
    "all": ("client", "worker", "supervisor"),
}
SOME = (
    ("shadow", "client"),
    ("tunnel", "helper"),
    ("capture", "all"),
    ("ready", "supervisor"),
)
NEXT = (("clean", "-n", "demo"), ("status",))
"""Commands that mend."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"killed-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, Any]:
    """Laptop and cluster as they are to be after each test."""
    return lab.census()


@pytest.mark.parametrize(("step", "who"), SOME)
def test_killed_after_a_step(lab: Lab, before: dict[str, Any], step: str, who: str) -> None:
    die_and_mend(lab, before, step, who)


@pytest.mark.soak
@pytest.mark.parametrize("who", VICTIMS)
@pytest.mark.parametrize("step", STEPS)
def test_killed_after_each_step(lab: Lab, before: dict[str, Any], step: str, who: str) -> None:
    die_and_mend(lab, before, step, who)


def die_and_mend(lab: Lab, before: dict[str, Any], step: str, who: str) -> None:
    with open_client(lab) as client:
        client.wait_for(step)
        kill(client, who)
        code, said = client.wait()
    assert "Traceback" not in said
    # Whoever has lost its helper ends by itself, and says so.
    assert code == (-signal.SIGKILL if "client" in VICTIMS[who] else 8), said
    done = run_command(lab, *NEXT[STEPS.index(step) % len(NEXT)])
    assert done.code == 0, done.err
    if (step, who) == ("capture", "all"):
        # Then there is nobody else who could have.
        assert "was undone that had been killed" in done.out + done.err
    wait_until(lambda: differences(before, lab.census(), *HOST_STATE) == [], 5.0)


def kill(client: Client, who: str) -> None:
    """All of them as one: none sees another one die."""
    supervisor = client.find_helper()
    assert supervisor is not None
    (worker,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    pids = {"client": client.pid, "worker": int(worker), "supervisor": supervisor}
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for victim in VICTIMS[who]:
            # The client's end is its helper's, where that has only just been told.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[victim], number)


def test_what_another_tool_changed_meanwhile_stays(lab: Lab, before: dict[str, Any]) -> None:
    """A VPN comes up while a killed session's changes are still there."""
    former = before["/etc/resolv.conf"]["text"]
    theirs = "# of the VPN\nnameserver 192.168.64.53\n"
    route = ("10.96.0.0/16", "via", "192.168.64.1")
    with open_client(lab) as client:
        client.wait_for("ready")
        kill(client, "all")
        client.wait()
    try:
        lab.run("sh", "-c", f"printf '{theirs}' > /etc/resolv.conf")
        lab.run("ip", "route", "add", *route)
        done = run_command(lab, "clean", "-n", "demo")
        assert (done.code, done.err) == (0, "")
        assert "/etc/resolv.conf" in done.out
        check_theirs(lab, theirs)
        # The next session takes theirs for what it was, too.
        with open_ready_client(lab) as client:
            assert client.end()[0] == 0
        check_theirs(lab, theirs)
    finally:
        lab.run("sh", "-c", f"printf '{former}' > /etc/resolv.conf")
        lab.run("ip", "route", "del", *route)
    assert lab.census()["route"] == before["route"]


def check_theirs(lab: Lab, text: str) -> None:
    assert lab.run("cat", "/etc/resolv.conf") == text
    assert lab.run("ip", "route", "show", "10.96.0.0/16").startswith("10.96.0.0/16 via")
    assert lab.run("ip", "link", "show", "type", "tun") == ""
    assert lab.run("sh", "-c", "ls -A /run/ktnet/journal") == ""


def test_what_killed_clients_left_in_the_cluster_goes_by_itself(
    lab: Lab, before: dict[str, Any]
) -> None:
    """Last, since that takes a while."""
    limit_s = 2 * (IDLE_S + TTL_S) + 20.0
    wait_until(lambda: differences(before, lab.census(), *OBJECTS) == [], limit_s)
