"""What sessions other than `connect` say of their connections, to `status` and to the dashboard."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from connect_client import wait_until
from dashboard_scene import open_dashboard
from forked_command import ask_command
from held_connections import hold, open_connections
from inbound_scene import ECHO as APP
from inbound_scene import open_app, open_command
from mesh_scene import mix, open_http_app, open_member, open_process

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl runs the callers in pods"),
]

ECHO = 7001
HERE = Path(__file__).parent

BY_PROXY = """
import socket, sys
with socket.create_connection(("127.0.0.1", 1080)) as stream:
    stream.sendall(b"CONNECT streams.demo.svc.cluster.local:7001 HTTP/1.1\\r\\n\\r\\n")
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += stream.recv(1)
    stream.sendall(b"hello")
    stream.recv(5, socket.MSG_WAITALL)
    print("open", flush=True)
    sys.stdin.read()
"""
CALLER = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as stream:
    stream.sendall(b"hold\\n")
    stream.recv(5, socket.MSG_WAITALL)
    print("open", flush=True)
    sys.stdin.read()
"""
"""What `inbound_scene.ECHO` answers with "held"."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"live-{os.getpid()}") as lab:
        yield lab


def held_caller(lab: Lab, host: str, port: int) -> Any:
    inside = ["python3", "-c", CALLER, host, str(port)]
    return hold(lab.exec("kubectl", "-n", "demo", "exec", "-i", "deploy/web", "--", *inside))


def read_status(lab: Lab) -> dict[str, Any]:
    """The one session, as `ktnet status` has it."""
    told = json.loads(ask_command(lab, "status", "--local", "-o", "json"))
    (session,) = told["sessions"]
    return dict(session)


def check_ended(lab: Lab) -> None:
    """The connection that was held is over, and what it has carried stays counted."""
    wait_until(lambda: read_status(lab)["flows"]["flows_open"] == 0, 20.0)
    session = read_status(lab)
    assert session["connections"] == []
    assert session["flows"]["bytes_down"] >= 5


def test_forward(lab: Lab) -> None:
    with open_command(lab, "forward", "streams", str(ECHO)) as forward:
        forward.wait_for("ready")
        with open_connections(lab, "127.0.0.1", 2):
            session = read_status(lab)
            assert session["flows"]["flows_open"] == 2
            assert session["round_trip_s"] > 0
            assert all(each["process"].startswith("held (") for each in session["connections"])
            assert {each["destination"][0] for each in session["connections"]} == {"streams"}
            busy, other = session["connections"]
            assert busy["bytes_up"] > other["bytes_up"] == other["bytes_down"] == 5
            said = ask_command(lab, "status", "--local", "-o", "wide")
            assert f"streams:{ECHO}" in said
            assert "2 connections open, 2 in all, 0 failed" in said
            assert "round trip" in said
        check_ended(lab)
        assert forward.end() == (0, "")


def test_forward_without_a_shadow(lab: Lab) -> None:
    pod = lab.census()["tomcat"]["podName"]
    with open_command(lab, "forward", "--no-shadow", f"pod/{pod}", "8085:8080") as forward:
        forward.wait_for("ready")
        with held_http(lab):
            session = read_status(lab)
            assert session["round_trip_s"] is None
            (connection,) = session["connections"]
            assert connection["destination"] == [pod, 8080]
            assert connection["bytes_down"] > connection["bytes_up"] > 0
        assert forward.end() == (0, "")


@contextmanager
def held_http(lab: Lab) -> Iterator[None]:
    code = (
        "import http.client, sys\n"
        "connection = http.client.HTTPConnection('127.0.0.1', 8085)\n"
        "connection.request('GET', '/')\n"
        "connection.getresponse().read()\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with hold(lab.exec(sys.executable, "-c", code)):
        yield


def test_proxy_and_the_dashboard(lab: Lab) -> None:
    with open_command(lab, "connect", "--mode", "proxy") as proxy:
        proxy.wait_for("ready")
        with hold(lab.exec(sys.executable, "-c", BY_PROXY)):
            session = read_status(lab)
            (connection,) = session["connections"]
            assert connection["destination"] == ["streams.demo.svc.cluster.local", ECHO]
            assert connection["state"] == "open"
            assert connection["inbound"] is False
            assert (connection["bytes_up"], connection["bytes_down"]) == (5, 5)
            with open_dashboard(lab, "-n", "demo") as dashboard:
                (flow,) = dashboard.read("/api/v1/flows")["flows"]
                assert flow["destination"] == connection["destination"]
                assert flow["source"] == connection["source"]
                status, text = dashboard.get("/metrics")
                assert status == 200
                assert 'ktnet_session_flows_open{command="connect"' in text
        check_ended(lab)
        assert proxy.end() == (0, "")


def test_run_knows_caller_and_process(lab: Lab) -> None:
    # Without most of root's rights, as a program of the one who looks.
    plain = "from ktnet.host.privileges import *\nkeep_only(OF_A_ROOT_CLIENT)\n" + APP
    app = lab.exec(sys.executable, "-c", plain, "8080", "laptop")
    with (
        open_process(app) as process,
        open_command(lab, "run", "mine", "--expose", "8080:80") as run,
    ):
        run.wait_for("ready")
        host = "mine.demo.svc.cluster.local"
        lab.settle()
        with held_caller(lab, host, 80):
            (connection,) = read_status(lab)["connections"]
            assert connection["inbound"] is True
            assert connection["destination"] == ["127.0.0.1", 8080]
            assert connection["source"][0].startswith("10.244.")
            assert connection["process"].endswith(f"({process.pid})")
            assert connection["bytes_up"] == connection["bytes_down"] == 5
            said = ask_command(lab, "status", "--local", "-o", "wide")
            assert "port 8080 here, from 10.244." in said
        check_ended(lab)
        assert run.end()[0] == 0


def test_exchange(lab: Lab) -> None:
    with open_app(lab, 8080), open_command(lab, "exchange", "tomcat", "--expose", "8080") as taken:
        taken.wait_for("ready")
        lab.settle()
        with held_caller(lab, "tomcat.demo.svc.cluster.local", 80):
            (connection,) = read_status(lab)["connections"]
            assert (connection["inbound"], connection["bytes_down"]) == (True, 5)
        check_ended(lab)
        assert taken.end()[0] == 0


def test_mesh(lab: Lab) -> None:
    with open_http_app(lab, "alice"), open_member(lab, "alice") as member:
        assert mix(lab, 20, 2, "alice")["failed"] == 0
        counts = read_status(lab)["flows"]
        assert counts["flows_total"] >= 1
        assert min(counts["bytes_up"], counts["bytes_down"]) > 20 * 10
        assert member.end()[0] == 0


def test_root_sees_what_others_run(lab: Lab) -> None:
    """An ordinary user's session stands in root's status, in a table of its own."""
    config = Path("/tmp") / f"ktnet-live-{os.getpid()}.kubeconfig"
    config.write_text((lab.directory / "kubeconfig").read_text())
    config.chmod(0o644)
    become = (str(Path(sys.executable).resolve()), str(HERE / "ordinary_user.py"))
    words = ("forward", "--kubeconfig", str(config), "-n", "demo", "svc/tomcat", ":80")
    process = subprocess.Popen(lab.exec(*become, *KTNET, *words), stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("ready") for line in process.stdout)
            (other,) = read_others(lab, process.pid)
            assert (other["user"], other["pid"]) == ("nobody", process.pid)
            # A machine that is very busy may leave it no moment to say more.
            assert other["state"] in {"connected", "not answering"}
            assert other.get("command") in {"forward", None}
            said = ask_command(lab, "status", "--local")
            assert "of other users of this machine:" in said
            assert f"nobody  {process.pid}" in said
        finally:
            process.terminate()
            process.wait(30)
            config.unlink()
    assert read_others(lab, process.pid) == []


def read_others(lab: Lab, pid: int) -> list[dict[str, Any]]:
    """Of that process: /tmp may have sessions of other labs too."""
    told = json.loads(ask_command(lab, "status", "--local", "-o", "json"))
    return [each for each in told["other_users"] if each["pid"] == pid]
