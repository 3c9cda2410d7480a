"""`ktnet exchange` and `run` killed at their requests, and what a command makes of it afterwards.

The API server kills the client, by SIGKILL, when the request comes or when it has been done. Then
what people do: clean here or on another machine, or recover, with the session's Job or Lease there
or not. All objects have to be as they were, each time.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from itertools import count
from typing import Any, Literal

import pytest
from connect_client import wait_until
from exchange_state import annotation_of, left_behind, read_state
from inbound_scene import kubectl, open_app
from killing import make_old, run_until_killed

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl reads the objects"),
]

LABEL = ("-l", "app.kubernetes.io/managed-by=ktnet")
RUN = ("run", "preview", "--expose", "8080:80", "--idle", "3600")

Aftermath = Literal["clean", "elsewhere", "job gone", "lease gone"]
AFTERMATHS: tuple[Aftermath, ...] = ("clean", "elsewhere", "job gone", "lease gone")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"killed-{os.getpid()}", "--laptops", "2") as lab:
        kubectl(lab, "scale", "deploy/web", "--replicas=3")
        kubectl(lab, "scale", "deploy/streams", "--replicas=0")
        with open_app(lab, 8080):
            yield lab


def build_command(mode: str, target: str) -> tuple[str, ...]:
    expose = {"tomcat": "8080", "web": "8080", "streams": "8080:7001"}[target]
    kind = "deployment" if mode == "scale" else "service"
    name = f"{kind}/{target}"
    return ("exchange", name, "--expose", expose, "--mode", mode, "--idle", "3600")


def clear_up(lab: Lab, before: dict[str, Any], aftermath: Aftermath, taken: str) -> None:
    """What is done then; afterwards all has to be as it was."""
    laptop = 2 if aftermath == "elsewhere" else 1
    kind, _, name = taken.partition("/")
    if aftermath == "job gone":
        kubectl(lab, "delete", "jobs", *LABEL)
    elif aftermath == "lease gone":
        kubectl(lab, "delete", "leases", *LABEL)
    if aftermath in {"elsewhere", "lease gone"} and name and annotation_of(lab, kind, name):
        lab.run(*KTNET, "recover", taken, "-n", "demo", "--force", laptop=laptop)
        assert annotation_of(lab, kind, name) is None
    make_old(lab)
    all_users = ("--all-users",) if aftermath == "elsewhere" else ()

    def clean() -> bool:
        lab.run(*KTNET, "clean", "-n", "demo", *all_users, laptop=laptop)
        return left_behind(lab, before) == []

    if not clean():
        # Garbage collection, and a Job without a Lease, which may just be starting.
        wait_until(lambda: left_behind(lab, before) == [] or clean(), 60)


@pytest.mark.parametrize(
    ("mode", "target", "method", "path", "moment", "aftermath"),
    [
        # Its account isn't made, and the Job is suspended for ever.
        ("scale", "streams", "POST", "*/roles", "after", "clean"),
        # Nobody has heard that it was taken.
        ("scale", "web", "PATCH", "*/deployments/web", "after", "elsewhere"),
        ("selector", "web", "PATCH", "*/services/web", "after", "job gone"),
    ],
)
def test_what_a_kill_leaves_is_put_back(
    lab: Lab, mode: str, target: str, method: str, path: str, moment: str, aftermath: Aftermath
) -> None:
    before = read_state(lab)
    # The dry run of a Role is the first one.
    number = 2 if path == "*/roles" else 1
    command = build_command(mode, target)
    fault = {"method": method, "path": path, "moment": moment, "number": number}
    assert run_until_killed(lab, command, **fault)
    clear_up(lab, before, aftermath, command[1])


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("mode", "target"),
    [("scale", "tomcat"), ("scale", "web"), ("scale", "streams"), ("selector", "web"), ("run", "")],
)
def test_a_kill_at_any_request_is_put_back(lab: Lab, mode: str, target: str, moment: str) -> None:
    before = read_state(lab)
    command = RUN if mode == "run" else build_command(mode, target)
    taken = command[1] if target else ""
    for number in count(1):
        if not run_until_killed(lab, command, number=number, moment=moment):
            break
        aftermath = AFTERMATHS[number % len(AFTERMATHS)]
        print(json.dumps([mode, target, moment, number, aftermath]), flush=True)
        clear_up(lab, before, aftermath, taken)
    assert left_behind(lab, before) == []
    assert number > 20
