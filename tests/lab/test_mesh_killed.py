"""`ktnet mesh` killed at its requests, in each mode, and what a command makes of it afterwards.

The API server kills the client, by SIGKILL, when the request comes or when it has been done. Then
what people do: clean here or on another machine, or recover, with what the session made there or
not. All objects have to be as they were, each time; where somebody else shares the Service, she
mustn't notice any of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from itertools import count
from typing import Any, Literal

import pytest
from connect_client import differences, wait_until
from exchange_state import read_state
from inbound_scene import kubectl, read_object
from istio_objects import KINDS, add_kinds, existing
from mesh_killing import list_leases, make_old, run_until_killed
from mesh_scene import list_failed, names, open_http_app, open_loop, open_member

from ktnet.lab.harness import KTNET, Lab, open_lab
from ktnet.wire.meshrecord import ANNOTATION

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl reads the objects"),
]

Mode = Literal["auto", "istio", "manual"]
Aftermath = Literal["clean", "elsewhere", "owner gone", "lease gone"]
AFTERMATHS: tuple[Aftermath, ...] = ("clean", "elsewhere", "owner gone", "lease gone")

PARTS = 4
"""Of a command's requests: each of them is a test that takes minutes."""
MOST = 64
"""More are only looks whether the router's pods have gone, five a second; then it is deleted."""
LABEL = ("-l", "app.kubernetes.io/managed-by=ktnet")
ROUTER = ("-l", "app.kubernetes.io/name=ktnet-router")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"marked-{os.getpid()}", "--laptops", "2") as lab:
        add_kinds(lab)
        with existing(lab), open_http_app(lab, "alice"), open_http_app(lab, "bob", laptop=2):
            yield lab


def build_command(mode: Mode) -> tuple[str, ...]:
    mark = ("--version-mark", "alice")
    return ("mesh", "tomcat", "--mode", mode, "--expose", "8080", *mark, "--idle", "3600")


def read_all(lab: Lab) -> dict[str, Any]:
    """All objects that a mesh may make or change; of Leases that they are there."""
    return {
        key: obj["metadata"]["labels"] if key.startswith("Lease") else obj
        for key, obj in read_state(lab, *KINDS).items()
    }


def list_changed(lab: Lab, before: dict[str, Any]) -> list[str]:
    """What of what was there before is otherwise now."""
    after = read_all(lab)
    return differences(before, {key: after.get(key) for key in before}, *before)


def list_new(lab: Lab, before: dict[str, Any]) -> set[str]:
    return read_all(lab).keys() - before


def is_taken(lab: Lab, mode: Mode, before: dict[str, Any]) -> bool:
    """Whether there is something that `recover` can put back."""
    if mode == "auto":
        service = read_object(lab, "service", "tomcat")
        return ANNOTATION in service["metadata"].get("annotations", {})
    return mode == "istio" and list_changed(lab, before) != []


def clear_up(
    lab: Lab, before: dict[str, Any], mode: Mode, aftermath: Aftermath, others: set[str]
) -> None:
    """What is done then; afterwards all that was there has to be as it was. `others` are the Leases
    of those who go on."""
    laptop = 2 if aftermath == "elsewhere" else 1
    if aftermath == "owner gone" and not others:
        kubectl(lab, "delete", *(("deployments", *ROUTER) if mode == "auto" else ("jobs", *LABEL)))
    elif aftermath == "lease gone" and (mine := list_leases(lab) - others):
        kubectl(lab, "delete", "lease", *mine)
    is_recovered = aftermath in {"elsewhere", "lease gone"} and not others
    if is_recovered and is_taken(lab, mode, before):
        lab.run(*KTNET, "recover", "tomcat", "-n", "demo", "--force", laptop=laptop)
        assert list_changed(lab, before) == []
    make_old(lab, others)
    clean(lab, laptop)
    assert list_changed(lab, before) == []


def clean(lab: Lab, laptop: int = 1) -> None:
    lab.run(*KTNET, "clean", "-n", "demo", "--all-users", laptop=laptop)


def wait_until_gone(lab: Lab, before: dict[str, Any]) -> None:
    """A router or a Job without a Lease may just be starting, for a minute."""

    def is_gone() -> bool:
        if list_new(lab, before):
            clean(lab)
        return not list_new(lab, before)

    wait_until(is_gone, 90)
    assert list_changed(lab, before) == []


@pytest.mark.parametrize(
    ("mode", "method", "path", "moment", "aftermath"),
    [
        # Nobody has heard that it was led here.
        ("auto", "PATCH", "*/services/tomcat", "after", "elsewhere"),
        # The subset is there, the route isn't.
        ("istio", "PATCH", "*/virtualservices/*", "before", "clean"),
    ],
)
def test_what_a_kill_leaves_is_put_back(
    lab: Lab, mode: Mode, method: str, path: str, moment: str, aftermath: Aftermath
) -> None:
    before = read_all(lab)
    fault = {"method": method, "path": path, "moment": moment}
    assert run_until_killed(lab, build_command(mode), **fault)
    assert list_changed(lab, before) != []
    clear_up(lab, before, mode, aftermath, set())
    wait_until_gone(lab, before)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(1, 1 + PARTS))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("mode", ["auto", "istio", "manual"])
def test_a_kill_at_any_request_is_put_back(lab: Lab, mode: Mode, moment: str, first: int) -> None:
    before = read_all(lab)
    kill_at_each(lab, before, mode, moment, first, set())
    wait_until_gone(lab, before)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_when_all_but_the_router_is_undone_is_put_back(lab: Lab, moment: str) -> None:
    before = read_all(lab)
    command = build_command("auto")
    for number in count(1):
        if not run_until_killed(lab, command, method="DELETE", number=number, moment=moment):
            break
        assert list_changed(lab, before) == []
        clear_up(lab, before, "auto", "clean", set())
    assert number > 1
    wait_until_gone(lab, before)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(1, 1 + PARTS))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_any_request_is_nothing_to_others(lab: Lab, moment: str, first: int) -> None:
    """She shares the router, and neither her requests nor anybody's else fail."""
    untouched = read_all(lab)
    with open_member(lab, "bob", laptop=2) as bob:
        before = read_all(lab)
        with open_loop(lab, 0.1, "bob", "tomcat") as found:
            kill_at_each(lab, before, "auto", moment, first, list_leases(lab))
        assert names(found["bob"]) == {"bob"}, list_failed(found["bob"])
        assert names(found["tomcat"]) == {"tomcat"}, list_failed(found["tomcat"])
        code, err = bob.end()
        assert code == 0, err
    wait_until_gone(lab, untouched)


def kill_at_each(
    lab: Lab, before: dict[str, Any], mode: Mode, moment: str, first: int, others: set[str]
) -> None:
    """At every one of its requests from the first one on that is this part's."""
    for number in range(first, MOST, PARTS):
        if not run_until_killed(lab, build_command(mode), number=number, moment=moment, laptop=1):
            break
        aftermath = AFTERMATHS[(number + number // PARTS) % len(AFTERMATHS)]
        print(json.dumps([mode, moment, number, aftermath]), flush=True)
        clear_up(lab, before, mode, aftermath, others)
    assert number > 15
