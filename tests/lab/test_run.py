"""`ktnet run`: a process of the laptop as a Service, for callers in the cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator

import pytest
from api_client import read_object
from connect_client import OBJECTS, differences, read_session, wait_until
from forked_command import ask_command
from inbound_scene import call, fails, kubectl, open_app, open_command

from ktnet.lab.harness import Lab, open_lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl runs the callers in pods"),
]

SOAK = "KTNET_SOAK" in os.environ
REQUESTS = 10_000 if SOAK else 500
MIB = 1024 if SOAK else 32
AT_ONCE = 1000 if SOAK else 300


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"run-{os.getpid()}") as lab:
        yield lab


def test_everything_that_comes_to_the_service_reaches_the_laptop(lab: Lab) -> None:
    before = lab.census()
    with open_app(lab, 8080), open_command(lab, "run", "mine", "--expose", "8080:80", "-v") as run:
        run.wait_for("ready")
        lab.settle()
        host = "mine.demo.svc.cluster.local"
        found = call(lab, host, 80, "ids", str(REQUESTS), "20")
        assert found == {"asked": REQUESTS, "wrong": [], "failed": 0}
        assert call(lab, host, 80, "bulk", str(MIB)) == {"up": True, "down": True}
        assert call(lab, host, 80, "many", str(AT_ONCE)) == {"held": AT_ONCE, "over": AT_ONCE}
        assert call(lab, host, 80, "once", "reset") == {"error": "ConnectionResetError"}
        session = read_session(lab)
        assert session["command"] == "run"
        assert session["exposed"] == [
            {"port": 80, "local": "127.0.0.1:8080", "listening": True, "held": True}
        ]
        pod = read_object(lab, "pods", session["pod"])
        assert pod["spec"]["securityContext"]["runAsUser"] == 65534
        code, err = run.end()
        assert code == 0, err
    caller = json.loads(kubectl(lab, "get", "pod", "-l", "app=web", "-o", "json"))["items"]
    addresses = {each["status"]["podIP"] for each in caller}
    assert any(f"{address}:" in err for address in addresses), "the caller's address is logged"
    assert differences(before, lab.census(), *OBJECTS) == []


def test_a_stopped_process_is_refused_and_its_user_is_told(lab: Lab) -> None:
    host = "again.demo.svc.cluster.local"
    with open_command(lab, "run", "again", "--expose", "8081:8081") as run:
        run.wait_for("nothing listens on 127.0.0.1:8081")
        run.wait_for("ready")
        lab.settle()
        for _ in range(2):
            assert call(lab, host, 8081, "once", "id+1") == {"error": "ConnectionRefusedError"}
            with open_app(lab, 8081):
                wait_until(lambda: "answer" in call(lab, host, 8081, "once", "id+1"))
            run.wait_for("any more")
        code, err = run.end(signal.SIGTERM)
        assert code == 0, err


def test_a_tunnel_that_is_cut_comes_back_with_its_ports(lab: Lab) -> None:
    host = "cut.demo.svc.cluster.local"
    with open_app(lab, 8082), open_command(lab, "run", "cut", "--expose", "8082:8082") as run:
        run.wait_for("ready")
        lab.settle()
        for deed in ("cut", "reset"):
            lab.fault("forwards", deed=deed)
            run.wait_for("is back")
            wait_until(lambda: "answer" in call(lab, host, 8082, "once", "id+1"))
        code, err = run.end()
        assert code == 0, err


def test_an_address_only_and_a_port_of_each_node(lab: Lab) -> None:
    before = lab.census()
    with open_app(lab, 8083):
        with open_command(lab, "run", "bare", "--port", "8083", "--no-service") as run:
            run.wait_for("ready")
            (address,) = read_session(lab)["addresses"]
            host, _, port = address.partition(":")
            assert call(lab, host, int(port), "once", "id+7")["answer"].startswith("laptop 7 ")
            assert differences(before, lab.census(), "services") == []
            assert run.end()[0] == 0
        with open_command(lab, "preview", "noded", "--expose", "8083", "--type", "NodePort") as run:
            run.wait_for("of each node")
            run.wait_for("ready")
            service = read_object(lab, "services", "noded")
            assert service["spec"]["type"] == "NodePort"
            (owner,) = service["metadata"]["ownerReferences"]
            assert owner["kind"] == "Job"
            assert run.end()[0] == 0
    assert differences(before, lab.census(), *OBJECTS) == []


def test_what_can_not_begin_changes_nothing(lab: Lab) -> None:
    before = lab.census()
    code, err = fails(lab, "run", "tomcat", "--expose", "8080")
    assert code == 10
    assert "tomcat already" in err
    for words in (("Mine", "8080"), ("mine", "0"), ("mine", "70000"), ("mine", "8080,8080")):
        assert fails(lab, "run", words[0], "--expose", words[1])[0] == 2
    assert fails(lab, "run", "mine", "--expose", "8080:http")[0] == 11
    assert "not carried" in fails(lab, "run", "mine", "--expose", "53/udp")[1]
    assert differences(before, lab.census(), *OBJECTS) == []
    assert json.loads(ask_command(lab, "status", "-o", "json"))["sessions"] == []
