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
from typing import Any

import pytest
from inbound_scene import open_app
from killing_scene import (
    AFTERMATHS,
    CHANGES,
    Outcome,
    Place,
    clear_up,
    list_places,
    make_workloads,
    read_state,
    run_until_killed,
)

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


def test_what_kills_leave_is_put_back(lab: Lab) -> None:
    places = list_places(1)
    make_workloads(lab, places, 3)
    before = read_state(lab)
    killed = []
    for place, path, moment in zip(
        places,
        # The Job is suspended for ever; then, nobody has heard that the workload was taken.
        ("*/jobs/*", "*/deployments/*", "*/deployments/*"),
        ("before", "after", "after"),
        strict=False,
    ):
        fault = {"method": "PATCH", "path": path, "moment": moment}
        assert run_until_killed(lab, "scale", place, number=1, **fault).is_killed
        killed.append(place)
    clear_up(lab, "scale", killed, before)


MODES = pytest.mark.parametrize(
    ("mode", "replicas"), [("scale", 1), ("scale", 3), ("scale", 0), ("selector", 1), ("run", 0)]
)
MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])


class Killing:
    """Sessions killed one after the other, put right whenever there is no more room."""

    def __init__(self, lab: Lab, mode: str, replicas: int) -> None:
        self._lab, self._mode = lab, mode
        self._places = list_places(SIZES[replicas])
        make_workloads(lab, self._places, replicas)
        self._before = read_state(lab)
        self._used: list[Place] = []
        self.killed = 0

    def kill(self, **fault: Any) -> Outcome:
        """At one request; the next session lies in the next namespace."""
        if len(self._used) == len(self._places):
            self.clear_up()
        place = self._places[len(self._used)]
        self._used.append(place)
        outcome = run_until_killed(self._lab, self._mode, place, **fault)
        self.killed += outcome.is_killed
        return outcome

    def clear_up(self) -> None:
        """All has to be as it was."""
        clear_up(self._lab, self._mode, self._used, self._before)
        self._used = []


@pytest.mark.soak
@pytest.mark.timeout(1800)
@MOMENTS
@MODES
def test_a_kill_at_any_request_is_put_back(lab: Lab, mode: str, replicas: int, moment: str) -> None:
    killing = Killing(lab, mode, replicas)
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
    killing = Killing(lab, mode, replicas)
    for request, number in CHANGES[mode]:
        method, path = request.split()
        for _ in AFTERMATHS:
            fault = {"method": method, "path": path, "moment": moment}
            assert killing.kill(number=number, **fault).is_killed, request
    killing.clear_up()
    print(f"{mode}, {replicas} replicas, {moment}: killed {killing.killed} times, all put back")
