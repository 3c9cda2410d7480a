"""`ktnet dashboard` as an HTTP client on the laptop sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from connect_client import open_ready_client, read_session
from dashboard_scene import Dashboard, open_dashboard, read_stream

from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"board-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module")
def connected(lab: Lab) -> Iterator[Lab]:
    with open_ready_client(lab) as client:
        yield lab
        client.end()


@pytest.fixture(scope="module")
def dashboard(connected: Lab) -> Iterator[Dashboard]:
    with open_dashboard(connected) as dashboard:
        yield dashboard


def test_it_tells_what_status_tells(connected: Lab, dashboard: Dashboard) -> None:
    (told,) = dashboard.read("/api/v1/sessions")["sessions"]
    shown = read_session(connected)
    for key in ("pid", "command", "namespace", "state", "since", "session", "pod", "routes"):
        assert told[key] == shown[key]


def test_the_stream_sees_traffic(connected: Lab, dashboard: Dashboard) -> None:
    assert connected.visit("http://tomcat.demo/")["status"] == 200
    looks = connected.call(read_stream, dashboard.port, dashboard.token, 2)
    assert looks[-1]["sessions"][0]["flows"]["bytes_down"] > 0
    (sample,) = looks[-1]["samples"].values()
    assert sample["down_bytes_per_s"] is not None


def test_strangers_get_nothing(dashboard: Dashboard) -> None:
    path = "/api/v1/sessions"
    assert dashboard.get(path, Authorization="Bearer wrong")[0] == 401
    assert dashboard.get(path, Host=f"evil.example:{dashboard.port}")[0] == 421
    assert dashboard.get("/", Host=f"evil.example:{dashboard.port}")[0] == 421
    assert dashboard.get(path, Origin="http://evil.example")[0] == 403
