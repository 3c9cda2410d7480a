"""`ktnet exchange` and `run` killed at their requests, and what a command makes of it afterwards.

The API server kills the client, by SIGKILL, when the request comes or when it has been done. Then
what people do: clean here or on another machine, or recover, with the session's Job or Lease there
or not. All objects have to be as they were, each time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count

import pytest
from exchange_killing import CHANGES, build_sessions
from inbound_scene import open_app
from killing import AFTERMATHS, Killing, list_places, make_workloads

from ktnet.lab.harness import Lab, open_lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl reads the objects"),
]

SIZES = {0: 28, 1: 14, 3: 7}
"""Workloads in each namespace, by their replicas: as many as a small machine has pods for."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with open_lab(f"killed-{os.getpid()}", "--laptops", "2") as lab, open_app(lab, 8080):
        yield lab


def open_killing(lab: Lab, mode: str, replicas: int, size: int | None = None) -> Killing:
    places = list_places(size or SIZES[replicas])
    make_workloads(lab, places, replicas)
    return Killing(lab, build_sessions(mode), places)


def test_what_kills_leave_is_put_back(lab: Lab) -> None:
    killing = open_killing(lab, "scale", 3, size=1)
    for path, moment in (
        # The Job is suspended for ever; then, nobody has heard that the workload was taken.
        ("*/jobs/*", "before"),
        ("*/deployments/*", "after"),
        ("*/deployments/*", "after"),
    ):
        assert killing.kill(method="PATCH", path=path, moment=moment, number=1).is_killed
    killing.clear_up()


MODES = pytest.mark.parametrize(
    ("mode", "replicas"), [("scale", 1), ("scale", 3), ("scale", 0), ("selector", 1), ("run", 0)]
)
MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])


@pytest.mark.soak
@pytest.mark.timeout(1800)
@MOMENTS
@MODES
def test_a_kill_at_any_request_is_put_back(lab: Lab, mode: str, replicas: int, moment: str) -> None:
    killing = open_killing(lab, mode, replicas)
    for number in count(1):
        if not killing.kill(number=number, moment=moment).has_come:
            break
    killing.clear_up()
    print(f"{mode}, {replicas} replicas, {moment}: killed {killing.killed} times, all put back")
    assert killing.killed > 20


@pytest.mark.soak
@pytest.mark.timeout(1800)
@MOMENTS
@MODES
def test_a_kill_at_any_change_is_put_back_in_any_way(
    lab: Lab, mode: str, replicas: int, moment: str
) -> None:
    """By name: how many requests wait for something differs, and with that all numbers."""
    killing = open_killing(lab, mode, replicas)
    for request, number in CHANGES[mode]:
        method, path = request.split()
        for _ in AFTERMATHS:
            fault = {"method": method, "path": path, "moment": moment}
            assert killing.kill(number=number, **fault).is_killed, request
    killing.clear_up()
    print(f"{mode}, {replicas} replicas, {moment}: killed {killing.killed} times, all put back")
