"""`ktnet forward` on a laptop that isn't joined to anything: ports that lead into the cluster."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from forked_command import ask_command

from ktnet.lab import traffic
from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

BULK_BYTES = 64 << 20
MADE = ("jobs", "leases", "pods", "link", "route", "rule")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"forward-{os.getpid()}") as lab:
        yield lab


@contextlib.contextmanager
def forwarding(lab: Lab, *words: str) -> Iterator[tuple[subprocess.Popen, list[str]]]:
    """`ktnet forward`, ready; the process and what it has said."""
    process = subprocess.Popen(
        lab.exec(*KTNET, "forward", "-n", "demo", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("ready"):
                break
        else:
            raise AssertionError((process.wait(), said, process.stderr.read()))
        yield process, said
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def through_shadow(lab: Lab) -> Iterator[list[str]]:
    pod = lab.census()["tomcat"]
    words = ["svc/tomcat", "8080:80", f"pod/{pod['podName']}", "8081:8080", "streams", "7001"]
    words += ["streams.demo", "7002", "7003", pod["podIP"], "8082:9", "nowhere.invalid", "8083:80"]
    with forwarding(lab, *words) as (_, said):
        yield said


@pytest.mark.parametrize("port", [8080, 8081])
def test_a_service_and_a_pod_answer(lab: Lab, through_shadow: list[str], port: int) -> None:
    pod = lab.census()["tomcat"]["podName"]
    assert pod in lab.visit(f"http://127.0.0.1:{port}/")["body"]
    assert any(f"127.0.0.1:{port} -> " in line for line in through_shadow)


def test_bulk_arrives_whole_either_way(lab: Lab, through_shadow: list[str]) -> None:
    digest = traffic.stream_sha256(BULK_BYTES)
    assert lab.call(traffic.upload, "127.0.0.1", 7002, BULK_BYTES).sha256 == digest
    assert lab.call(traffic.download, "127.0.0.1", 7003, BULK_BYTES).sha256 == digest


def test_300_connections_at_once(lab: Lab, through_shadow: list[str]) -> None:
    assert lab.call(traffic.echo_many, "127.0.0.1", 7001, 300) == 300


@pytest.mark.parametrize("port", [8082, 8083])
def test_what_the_far_side_refuses_is_reset(lab: Lab, through_shadow: list[str], port: int) -> None:
    with pytest.raises(ConnectionResetError):
        lab.call(traffic.download, "127.0.0.1", port, 1)


def test_status_shows_the_ports(lab: Lab, through_shadow: list[str]) -> None:
    (session,) = json.loads(ask_command(lab, "status", "-o", "json"))["sessions"]
    assert session["command"] == "forward"
    assert session["ssh"] == "own"
    assert "127.0.0.1:8080 -> service/tomcat:80" in session["forwards"]


def test_the_machines_names_are_left_alone(lab: Lab, through_shadow: list[str]) -> None:
    command = lab.exec(*KTNET, "dns", "tomcat")
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert "`ktnet forward` doesn't touch this machine's names" in asked.stderr


def test_without_a_shadow_nothing_is_made_in_the_cluster(lab: Lab) -> None:
    before = lab.census()
    pod = before["tomcat"]["podName"]
    with forwarding(lab, "--no-shadow", f"pod/{pod}", "9080:8080", "9081:9") as (_, said):
        assert pod in lab.visit("http://127.0.0.1:9080/")["body"]
        assert not any("shadow" in line for line in said)
        assert {k: lab.census()[k] for k in MADE} == {k: before[k] for k in MADE}
        with pytest.raises(ConnectionResetError):
            lab.call(traffic.download, "127.0.0.1", 9081, 1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["svc/nosuch", "80"], 11, "nosuch"),
        (["--no-shadow", "svc/tomcat", "80"], 2, "only pods"),
        (["--no-shadow", "pod/nosuch", "80"], 11, "nosuch"),
    ],
)
def test_errors_name_what_is_wrong(lab: Lab, words: list[str], code: int, says: str) -> None:
    command = lab.exec(*KTNET, "forward", "-n", "demo", *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
