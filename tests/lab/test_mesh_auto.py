"""`ktnet mesh --mode auto`: each user's requests reach her laptop, all others the original pods."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mesh_calls
import pytest
from api_client import list_objects, read_object
from connect_client import Client, differences, wait_until
from forked_command import ask_command
from inbound_scene import kubectl, open_command
from mesh_scene import (
    enter_pod,
    list_failed,
    mix,
    names,
    open_http_app,
    open_loop,
    open_member,
    open_process,
)

from ktnet.lab.harness import Lab, open_lab
from ktnet.wire.meshrecord import (
    ANNOTATION,
    Member,
    MeshRecord,
    build_record_text,
    build_selector,
)

SOAK = "KTNET_SOAK" in os.environ

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(3600 if SOAK else 300),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl runs the callers in pods"),
]

REQUESTS = 10_000 if SOAK else 1_000
AT_ONCE = 1_000
ROUNDS = 20 if SOAK else 1
SECONDS = 300 if SOAK else 3
KINDS = (
    *("deployments", "services", "serviceaccounts", "roles", "rolebindings"),
    *("poddisruptionbudgets", "leases", "jobs"),
)
ROUTER = "app.kubernetes.io/name=ktnet-router"
"""Its pods' label, and its own."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with (
        open_lab(f"auto-{os.getpid()}", "--laptops", "2") as lab,
        open_http_app(lab, "alice", laptop=1),
        open_http_app(lab, "bob", laptop=2),
    ):
        yield lab


def read_state(lab: Lab) -> dict[str, Any]:
    """All that a mesh may touch, but for what counts changes."""

    def keep(obj: dict[str, Any]) -> dict[str, Any]:
        metadata = obj["metadata"]
        kept = {k: v for k, v in metadata.items() if k in {"name", "labels", "annotations", "uid"}}
        return {**obj, "metadata": kept, "status": None}

    return {
        kind: sorted(map(keep, found), key=str) for kind, found in list_objects(lab, *KINDS).items()
    }


def test_two_users_and_everybody_else_share_a_service(lab: Lab) -> None:
    before = read_state(lab)
    with open_member(lab, "alice") as alice, open_member(lab, "bob", laptop=2) as bob:
        found = mix(lab, REQUESTS, 20, "alice", "bob", "tomcat")
        assert found["failed"] == 0, found
        assert min(found["asked"].values()) > REQUESTS / 10
        found = mix(lab, AT_ONCE * 2, AT_ONCE, "alice", "bob", "tomcat")
        assert found["failed"] == 0, found
        service = read_object(lab, "services", "tomcat")
        members = json.loads(service["metadata"]["annotations"][ANNOTATION])["members"]
        assert [each["value"] for each in members] == ["alice", "bob"]
        told = json.loads(ask_command(lab, "status", "-n", "demo", "-o", "json"))["cluster"]
        assert {held for each in told for held in each["holds"]} == {
            "service/tomcat (version: alice)",
            "service/tomcat (version: bob)",
        }
        with open_command(
            lab, "mesh", "tomcat", "--mode", "auto", "--expose", "8080", "--version-mark", "bob"
        ) as other:
            code, err = other.wait()
            assert code == 10
            assert "the mark version: bob is" in err
        sleep_and_wake(lab, alice)
        for member in (alice, bob):
            code, err = member.end()
            assert code == 0, err
    assert differences(before, read_state(lab), *KINDS) == []


def sleep_and_wake(lab: Lab, alice: Client) -> None:
    """A laptop that sleeps is nobody's outage. 3 s are promised for either way; a busy machine gets
    more."""
    with open_loop(lab, 0.05, "alice", "bob") as found:
        # By as many connections: both routers are asked.
        wait_until(lambda: mix(lab, 10, 10, "alice")["failed"] == 0, 30)
        stopped = time.time()
        os.kill(alice.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: mix(lab, 10, 10, "alice")["failed"] == 10, 30)  # by tomcat
        finally:
            back = time.time()
            os.kill(alice.pid, signal.SIGCONT)
        wait_until(lambda: mix(lab, 10, 10, "alice")["failed"] == 0, 30)
    assert names(found["alice"]) == {"alice", "tomcat"}, list_failed(found["alice"])
    assert names(found["bob"]) == {"bob"}, list_failed(found["bob"])
    away = [answered for _, answered, name in found["alice"] if name == "tomcat"]
    print(f"the origin after {min(away) - stopped:.1f} s; back {max(away) - back:.1f} s after")
    assert min(away) - stopped < 8
    assert max(away) - back < 8


def test_calls_and_sockets_go_through(lab: Lab, tmp_path: Path) -> None:
    """gRPC, a WebSocket and a large upload, all at once, marked and not."""
    ports = [
        {"name": f"p{port}", "port": port, "targetPort": port}
        for port in (mesh_calls.GRPC_PORT, mesh_calls.WEB_PORT)
    ]
    spec = {"selector": {"app": "tomcat"}, "ports": ports}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "calls"}, "spec": spec}
    path = tmp_path / "calls.json"
    path.write_text(json.dumps(service))
    kubectl(lab, "create", "--validate=false", "-f", str(path))
    pods = {
        each["metadata"]["labels"]["app"]: each["metadata"]["name"]
        for each in json.loads(kubectl(lab, "get", "pods", "-l", "app", "-o", "json"))["items"]
    }
    script = [sys.executable, mesh_calls.__file__]
    with (
        open_process([*enter_pod(pods["tomcat"]), *script, "serve", "tomcat"]),
        open_process(lab.exec(*script, "serve", "alice")),
        open_member(lab, "alice", service="service/calls", expose="9000,9001") as alice,
    ):
        address = read_object(lab, "services", "calls")["spec"]["clusterIP"]
        calling = [*enter_pod(pods["web"]), *script, "call", address]
        callers = [
            subprocess.Popen([*calling, mark, str(SECONDS)], stdout=subprocess.PIPE, text=True)
            for mark in ("alice", "")
        ]
        for caller in callers:
            found = json.loads(caller.communicate(timeout=SECONDS + 60)[0])
            print(found)
            assert caller.returncode == 0
            assert found["wrong"] == 0
            assert found["uploaded"] == mesh_calls.UPLOAD_BYTES
            assert min(found["unary"], found["messages"], found["echoes"]) > 0
        code, err = alice.end()
        assert code == 0, err
    kubectl(lab, "delete", "service", "calls")


def test_no_request_fails_while_users_come_go_and_crash(lab: Lab) -> None:
    """The router is rolled, the first of them is killed while the second is there, that one sleeps
    for long, comes back and is killed; nobody tidies."""
    before = read_state(lab)
    with (
        open_member(lab, "alice", "--idle", "5") as alice,
        open_loop(lab, 0.02, "bob", "tomcat") as found,
    ):
        for _ in range(ROUNDS):
            with open_member(lab, "bob", laptop=2) as bob:
                code, err = bob.end()
                assert code == 0, err
        with open_member(lab, "bob", "--idle", "5", laptop=2) as bob:
            joined = time.time()
            roll(lab)
            kill(alice)
            wait_until(lambda: mix(lab, 1, 1, "alice")["failed"] == 1, 30)  # by tomcat
            left = time.time()
            sleep_for_too_long(lab, bob)
            kill(bob)
        wait_until(lambda: not list_routers(lab), 90)
    print(f"the second there {joined:.2f}, killed {left:.2f}")
    assert names(found["tomcat"]) == {"tomcat"}, list_failed(found["tomcat"])
    assert names(found["bob"]) == {"tomcat", "bob"}, list_failed(found["bob"])
    during = [each for each in found["bob"] if joined < each[0] and each[1] < left]
    assert during
    assert names(during) == {"bob"}, [each for each in during if each[2] != "bob"]
    assert differences(before, read_state(lab), *KINDS) == []


def sleep_for_too_long(lab: Lab, member: Client) -> None:
    """The only one there is, for longer than `--idle`: the Service is put back, and meshed again
    when the laptop wakes."""
    os.kill(member.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: not is_meshed(lab), 60)
    finally:
        os.kill(member.pid, signal.SIGCONT)
    wait_until(lambda: is_meshed(lab) and mix(lab, 4, 2, "bob")["failed"] == 0, 60)


def is_meshed(lab: Lab) -> bool:
    annotations = read_object(lab, "services", "tomcat")["metadata"].get("annotations", {})
    return ANNOTATION in annotations


def kill(member: Client) -> None:
    member.process.send_signal(signal.SIGKILL)
    member.process.wait()


def roll(lab: Lab) -> None:
    """All pods of the router are replaced."""
    (router,) = list_routers(lab)
    before = list_router_pods(lab)
    kubectl(lab, "rollout", "restart", f"deployment/{router}")
    wait_until(lambda: len(list_router_pods(lab)) == 2 and not list_router_pods(lab) & before, 60)


def list_router_pods(lab: Lab) -> set[str]:
    return {each["metadata"]["uid"] for each in list_objects(lab, "pods", labels=ROUTER)["pods"]}


def list_routers(lab: Lab) -> list[str]:
    found = list_objects(lab, "deployments", labels=ROUTER)["deployments"]
    return [str(each["metadata"]["name"]) for each in found]


def test_a_mesh_is_put_back_from_its_annotation_alone(lab: Lab, tmp_path: Path) -> None:
    """Router, Lease and user are long gone."""
    before = read_state(lab)
    member = Member("tomcat-mesh-gone", "ada@desk", "2026-11-24T15:00:00Z", "version", "ada")
    record = MeshRecord("tomcat-router-gone", (("app", "tomcat"),), (member,))
    service = {
        "metadata": {"annotations": {ANNOTATION: build_record_text(record)}},
        "spec": {"selector": {"app": None, **build_selector(record.router)}},
    }
    path = tmp_path / "meshed.json"
    path.write_text(json.dumps(service))
    for command in (("recover", "tomcat"), ("clean", "--all-users")):
        kubectl(lab, "patch", "service", "tomcat", "--type=merge", f"--patch-file={path}")
        if command[0] == "clean":
            shown = ask_command(lab, *command, "-n", "demo", "--dry-run")
            assert "tomcat-mesh-gone of ada@desk meshes service/tomcat (version: ada)" in shown
            assert differences(before, read_state(lab), *KINDS) != []
        assert "service/tomcat is back as it was" in ask_command(lab, *command, "-n", "demo")
        assert differences(before, read_state(lab), *KINDS) == []
