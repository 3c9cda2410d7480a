"""`ktnet dashboard` as an HTTP client on the laptop sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import ask
from connect_client import open_ready_client, read_session, wait_until
from dashboard_scene import (
    OTHER,
    TOMCAT,
    Dashboard,
    look_up,
    open_dashboard,
    read_stream,
    taken_by_the_dead,
)
from held_connections import ECHO, NAME, open_connections

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
    with open_dashboard(connected, "-n", "demo") as dashboard:
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


def test_connections_have_a_process_a_service_and_an_age(dashboard: Dashboard) -> None:
    dashboard.read("/api/v1/cluster")
    with open_connections(dashboard.lab, "streams.demo", 3):
        # What was asked of the session a moment ago is shown as it was.
        wait_until(lambda: len(list_to_echo(dashboard)) == 3)
        flows = list_to_echo(dashboard)
    for flow in flows:
        assert flow["service"] == "streams.demo"
        assert flow["process"].startswith(f"{NAME} (")
        assert flow["state"] == "open"
        assert flow["age_s"] >= 0
        assert min(flow["bytes_up"], flow["bytes_down"]) >= 5
    # The largest first.
    assert flows[0]["bytes_up"] == max(flow["bytes_up"] for flow in flows)


def list_to_echo(dashboard: Dashboard) -> list[dict[str, Any]]:
    flows = dashboard.read("/api/v1/flows")["flows"]
    return [flow for flow in flows if flow["destination"][1] == ECHO]


def test_names_asked_are_shown_as_they_are(dashboard: Dashboard) -> None:
    dashboard.lab.call(look_up, "tomcat.demo.svc.cluster.local", "<b>x.svc.cluster.local")
    wait_until(lambda: {"tomcat", "<b>x"} <= names_of(dashboard))
    queries = dashboard.read("/api/v1/dns")["queries"]
    tomcat = next(each for each in queries if each["name"].startswith("tomcat.demo.svc"))
    assert (tomcat["zone"], tomcat["answer"], tomcat["type"]) == ("cluster", "NOERROR", "A")


def names_of(dashboard: Dashboard) -> set[str]:
    return {each["name"].partition(".")[0] for each in dashboard.read("/api/v1/dns")["queries"]}


def test_metrics_say_the_same(dashboard: Dashboard) -> None:
    status, text = dashboard.get("/metrics")
    assert status == 200
    assert 'ktnet_session_up{command="connect",namespace="demo",pid="' in text
    assert "ktnet_session_round_trip_seconds{" in text


def test_a_break_is_told_in_the_timeline(connected: Lab, dashboard: Dashboard) -> None:
    connected.fault("forwards", deed="cut", laptop=1)

    def texts() -> str:
        return " ".join(each["text"] for each in dashboard.read("/api/v1/events")["events"])

    wait_until(lambda: "is back, by" in texts(), 30.0)
    assert "reconnecting" in texts()
    assert dashboard.read("/api/v1/sessions")["sessions"][0]["tunnel"]["reconnects"] >= 1


def test_who_stands_in_front_and_what_is_recovered(dashboard: Dashboard) -> None:
    lab = dashboard.lab
    with taken_by_the_dead(lab, "dead-1") as before:
        seen: list[dict[str, Any]] = []

        def is_seen() -> bool:
            seen.append(dashboard.read("/api/v1/cluster"))
            return bool(find_fronts(seen[-1], "tomcat"))

        # It may have been looked at just before: the next look is at most ten seconds away.
        wait_until(is_seen, 60.0)
        (front,) = find_fronts(seen[-1], "tomcat")
        assert (front["session"], front["holder"], front["alive"]) == ("dead-1", OTHER, False)
        assert any(each["holds"] == ["deployment/tomcat"] for each in seen[-1]["sessions"])
        wanted = {"namespace": "demo", "name": "deployment/tomcat"}
        assert dashboard.ask("POST", "/api/v1/recover", wanted)[0] == 403
        origin = {"Origin": dashboard.origin}
        status, body = dashboard.ask("POST", "/api/v1/recover", wanted, origin)
        assert status == 200, body
        assert "deployment/tomcat is back as it was" in body
        assert ask(lab, "GET", TOMCAT)["spec"] == before


def find_fronts(cluster: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return next(list(each["fronts"]) for each in cluster["services"] if each["name"] == name)
