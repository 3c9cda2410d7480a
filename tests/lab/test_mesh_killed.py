"""`ktnet mesh` killed at its requests, in each mode, and what a command makes of it afterwards.

The API server kills the client, by SIGKILL, when the request comes or when it has been done. Then
what people do: clean here or on another machine, or recover, with what the session made there or
not. All objects have to be as they were, each time; where somebody else shares the Service, she
mustn't notice any of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from connect_client import differences, wait_until
from exchange_state import read_state
from forked_command import ask_command
from inbound_scene import kubectl
from killing import (
    AFTERMATHS,
    Killing,
    Place,
    list_places,
    make_leases_old,
    make_workloads,
    run_until_killed,
)
from mesh_killing import (
    CHANGES,
    Mode,
    build_command,
    build_sessions,
    list_leases,
    make_rules,
)
from mesh_scene import list_failed, names, open_http_app, open_loop, open_member

from ktnet.lab.harness import Lab, open_lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl reads the objects"),
]

SIZES = {"auto": 6, "istio": 8, "manual": 8}
"""Workloads in each namespace: a router left behind is two Python processes."""
MOST_OF_AUTO = 64
"""More are only looks whether the router's pods have gone, five a second; then it is deleted."""
AT_ONCE = 4
"""Members killed beside somebody else before anybody looks."""

MODES = pytest.mark.parametrize("mode", ["auto", "istio", "manual"])
MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])


@pytest.fixture
def lab() -> Iterator[Lab]:
    with (
        open_lab(f"marked-{os.getpid()}", "--laptops", "2") as lab,
        open_http_app(lab, "alice"),
        open_http_app(lab, "bob", laptop=2),
    ):
        yield lab


def open_killing(lab: Lab, mode: Mode, size: int | None = None) -> Killing:
    places = list_places(size or SIZES[mode])
    make_workloads(lab, places, 0 if mode == "auto" else 1)
    if mode == "istio":
        make_rules(lab, places)
    return Killing(lab, build_sessions(mode), places)


@pytest.mark.parametrize(
    ("mode", "path", "moments"),
    [
        # Nobody has heard that it was led here.
        ("auto", "*/services/*", ("before", "after")),
        # The subset is there, the route isn't.
        ("istio", "*/virtualservices/*", ("before",)),
    ],
)
def test_what_a_kill_leaves_is_put_back(
    lab: Lab, mode: Mode, path: str, moments: tuple[str, ...]
) -> None:
    killing = open_killing(lab, mode, size=1)
    for moment in moments:
        assert killing.kill(method="PATCH", path=path, moment=moment, number=1).is_killed
    killing.clear_up()


@pytest.mark.soak
@pytest.mark.timeout(1800)
@MOMENTS
@MODES
def test_a_kill_at_any_request_is_put_back(lab: Lab, mode: Mode, moment: str) -> None:
    killing = open_killing(lab, mode)
    for number in count(1):
        has_come, _ = killing.kill(number=number, moment=moment)
        if not has_come or (mode == "auto" and number == MOST_OF_AUTO):
            break
    killing.clear_up()
    print(f"{mode}, {moment}: {number} requests, killed {killing.killed} times, all put back")
    assert killing.killed > 15


@pytest.mark.soak
@pytest.mark.timeout(1800)
@MOMENTS
@MODES
def test_a_kill_at_any_change_is_put_back_in_any_way(lab: Lab, mode: Mode, moment: str) -> None:
    """By name: how many requests wait for something differs, and with that all numbers."""
    killing = open_killing(lab, mode)
    for request, number in CHANGES[mode]:
        method, path = request.split()
        for _ in AFTERMATHS:
            fault = {"method": method, "path": path, "moment": moment}
            assert killing.kill(number=number, **fault).is_killed, request
        # What it took is put back before anything is removed.
        assert method != "DELETE" or not killing.is_taken()
    killing.clear_up()
    print(f"{mode}, {moment}: killed {killing.killed} times, all put back")


@pytest.mark.soak
@pytest.mark.timeout(1800)
@MOMENTS
def test_a_kill_at_any_request_is_nothing_to_others(lab: Lab, moment: str) -> None:
    """She shares the router, and neither her requests nor anybody's else fail."""
    untouched = read_all(lab)
    killed = 0
    with open_member(lab, "bob", laptop=2) as bob:
        before, others = read_all(lab), list_leases(lab)
        with open_loop(lab, 0.1, "bob", "tomcat") as found:
            for number in count(1):
                command = build_command("auto", Place("demo", "tomcat"), f"alice-{number}")
                fault = {"number": number, "moment": moment, "laptop": 1}
                outcome = run_until_killed(lab, *command, **fault)
                killed += outcome.is_killed
                if number % AT_ONCE == 0 or not outcome.has_come:
                    clear_up(lab, others, laptop=1 + number // AT_ONCE % 2)
                    assert list_changed(lab, before) == []
                if not outcome.has_come:
                    break
        assert names(found["bob"]) == {"bob"}, list_failed(found["bob"])
        assert names(found["tomcat"]) == {"tomcat"}, list_failed(found["tomcat"])
        code, err = bob.end()
        assert code == 0, err
    print(f"{moment}: {number} requests, killed {killed} times, all put back")
    assert killed > 15
    wait_until_gone(lab, untouched)


def clear_up(lab: Lab, others: set[str], laptop: int) -> None:
    """From that laptop, half of the Leases having been deleted. `others` are those of who goes
    on."""
    mine = sorted(list_leases(lab) - others)
    if mine:
        kubectl(lab, "delete", "lease", *mine[::2])
    make_leases_old(lab, "demo", besides=others)
    clean(lab, laptop)


def clean(lab: Lab, laptop: int = 1) -> None:
    ask_command(lab, "clean", "-n", "demo", "--all-users", laptop=laptop)


def read_all(lab: Lab) -> dict[str, Any]:
    """All objects that a mesh may make or change; of Leases that they are there."""
    return {
        key: obj["metadata"]["labels"] if key.startswith("leases ") else obj
        for key, obj in read_state(lab).items()
    }


def list_changed(lab: Lab, before: dict[str, Any]) -> list[str]:
    """What of what was there before is otherwise now."""
    after = read_all(lab)
    return differences(before, {key: after.get(key) for key in before}, *before)


def wait_until_gone(lab: Lab, before: dict[str, Any]) -> None:
    """A router without a Lease may just be starting, for a minute."""

    def is_gone() -> bool:
        if read_all(lab).keys() - before:
            clean(lab)
        return not read_all(lab).keys() - before

    wait_until(is_gone, 90)
    assert list_changed(lab, before) == []
