"""`ktnet speed`: each leg has its figures, by a session's tunnel or by one of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from connect_client import HOST_STATE, OBJECTS, Client, differences
from forked_command import ask_command

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

SPEED = (*KTNET, "speed")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"speed-{os.getpid()}") as lab:
        yield lab


def check_figures(measured: dict[str, Any]) -> None:
    """All are there, and none contradicts another."""
    tunnel = measured["tunnel"]
    for times in (
        measured["api_server"]["request_ms"],
        measured["way"]["setup_ms"],
        tunnel["setup_ms"],
        tunnel["idle_ms"],
        tunnel["download"]["loaded_ms"],
        tunnel["upload"]["loaded_ms"],
    ):
        assert 0 < times["min"] <= times["median"] <= times["max"]
        assert times["count"] >= 1
    # Both ends are on this machine, so neither way is of another order than the other.
    down, up = tunnel["download"]["mbit_s"], tunnel["upload"]["mbit_s"]
    assert min(down, up) > 0.01 * max(down, up) > 0


def test_without_a_session_one_is_made_and_gone(lab: Lab) -> None:
    before = lab.census()
    words = (*SPEED, "svc/tomcat", "80", "-n", "demo", "--seconds", "0.5", "-o", "json")
    measured = json.loads(lab.run(*words))
    check_figures(measured)
    assert measured["target"]["name"] == "service/tomcat:80"
    assert 0 <= measured["target"]["connect_ms"] <= measured["target"]["setup_ms"]["max"]
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


def test_a_sessions_own_tunnel_is_measured(lab: Lab) -> None:
    command = lab.exec(*KTNET, "forward", "-n", "demo", "svc/tomcat", ":80")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        client = Client(process)
        try:
            client.wait_for("ready")
            (session,) = json.loads(ask_command(lab, "status", "--local", "-o", "json"))["sessions"]
            words = (*SPEED, "--seconds", "0.5")
            measured = json.loads(lab.run(*words, "-o", "json"))
            check_figures(measured)
            assert measured["session"] == session["session"]
            assert measured["target"] is None
            fetched = json.loads(lab.run(*words, "svc/tomcat", "80", "--get", "/", "-o", "json"))[
                "target"
            ]["get"]
            assert fetched["status"] == 200
            assert fetched["count"] > 1
            assert fetched["bytes"] > 100 * fetched["count"]
            assert fetched["first_byte_ms"]["median"] > 0
            said = lab.run(*words, "svc/tomcat", "80", "--get", "/")
            assert "GET /: first byte" in said
            assert "shadow <-> service/tomcat:80" in said
            assert "most of the time is spent" in said
            assert client.end() == (0, "")
        finally:
            process.kill()
