"""`ktnet mesh --mode istio`: a mark in Istio's objects, and out of them again.

The lab has no data plane of Istio's: the objects are what is looked at.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from connect_client import OBJECTS, Client, differences
from forked_command import Ended, run_command
from istio_objects import ROUTES, SUBSETS, add_kinds, existing, read

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

SERVER = ("python3", "-u", "-m", "http.server", "-b", "127.0.0.1", "8080")


@pytest.fixture(scope="module")
def bare_lab() -> Iterator[Lab]:
    with (
        open_lab(f"istio-{os.getpid()}") as lab,
        subprocess.Popen(
            lab.exec(*SERVER), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server,
    ):
        try:
            yield lab
        finally:
            server.kill()


@pytest.fixture(scope="module")
def lab(bare_lab: Lab) -> Lab:
    add_kinds(bare_lab)
    return bare_lab


@contextmanager
def open_mesh(lab: Lab, mark: str) -> Iterator[Client]:
    process = subprocess.Popen(
        lab.exec(
            *(*KTNET, "mesh", "tomcat", "-n", "demo", "--mode", "istio"),
            *("--expose", "8080", "--version-mark", mark),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            yield Client(process)
        finally:
            process.kill()


def ktnet(lab: Lab, *words: str) -> Ended:
    return run_command(lab, *words, "-n", "demo")


def test_without_istio_nothing_is_changed(bare_lab: Lab) -> None:
    """First of all: the lab has no such kinds yet."""
    before = bare_lab.census()
    with open_mesh(bare_lab, "alice") as client:
        code, err = client.wait()
    assert code == 11
    assert "Istio isn't installed" in err
    assert "--mode auto" in err
    assert differences(before, bare_lab.census(), *OBJECTS) == []


def test_marked_requests_are_led_here_and_nothing_of_it_stays(lab: Lab) -> None:
    cluster = lab.census()
    with existing(lab) as before, open_mesh(lab, "alice") as client:
        client.wait_for("ready")
        shop = read(lab)["virtualservices/shop"]["spec"]
        assert [each.get("name") for each in shop["http"]] == [
            "ktnet-alice",
            "canary",
            None,
            "ktnet-alice/2",
            "everything",
        ]
        assert [shop["http"][each] for each in (1, 2, 4)] == ROUTES["http"]
        header = {"version": {"exact": "alice"}}
        assert shop["http"][0] == {
            "name": "ktnet-alice",
            "match": [
                {
                    "uri": {"prefix": "/api"},
                    "headers": {"end-user": {"exact": "jason"}, **header},
                },
                {"queryParams": {"canary": {"exact": "1"}}, "headers": header},
            ],
            "rewrite": {"uri": "/"},
            "route": [{"destination": {"host": "tomcat", "subset": "ktnet-alice"}}],
        }
        assert shop["http"][3] == {
            "name": "ktnet-alice/2",
            "match": [{"headers": header}],
            "timeout": "5s",
            "route": [
                {
                    "destination": {
                        "host": "tomcat.demo.svc.cluster.local",
                        "subset": "ktnet-alice",
                        "port": {"number": 80},
                    }
                }
            ],
        }
        rule = read(lab)["destinationrules/shop"]["spec"]
        assert rule["subsets"] == [
            *SUBSETS["subsets"],
            {"name": "ktnet-alice", "labels": {"version": "alice"}},
        ]
        assert "random share" not in "".join(client.lines)
        assert client.end() == (0, "")
        assert read(lab) == before
    assert differences(cluster, lab.census(), *OBJECTS) == []


def test_a_killed_sessions_rules_are_removed_by_another_command(lab: Lab) -> None:
    with existing(lab) as before:
        with open_mesh(lab, "bob") as client:
            client.wait_for("ready")
            client.process.kill()
            client.wait()
        assert read(lab) != before
        refused = ktnet(lab, "recover", "tomcat")
        assert refused.code == 10
        assert "the mark version: bob" in refused.err
        done = ktnet(lab, "recover", "tomcat", "--force")
        assert (done.code, done.err) == (0, "")
        assert "is without ktnet-bob" in done.out
        assert read(lab) == before
