"""What changes under a session: the laptop's network, its credentials, rights and namespace."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_client import ask
from break_scene import ECHO, find, open_held_flow, read_table
from connect_client import (
    Client,
    open_ready_client,
    read_session,
    wait_until,
)
from test_connect_breaks import FAULTS
from unchanged import before, nothing_is_left  # noqa: F401  (of every test here)

from ktnet.cluster.rights import build_roles
from ktnet.lab.harness import Lab, open_lab
from ktnet.lab.launch import add_user

pytestmark = pytest.mark.lab

ROWS = {
    "address of the laptop changed",
    "token expired, and the port-forward cut",
    "pod deleted, --via direct",
    "laptop asleep, its connection dead",
}
"""Lines of the table that have tests of their own."""
ASLEEP_S = 6.5
CORE = "/api/v1/namespaces"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/demo/roles"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"changes-{getpid()}") as lab:
        yield lab


def test_every_line_of_the_table_is_made() -> None:
    assert read_table().keys() == FAULTS.keys() | ROWS


@contextmanager
def broken_and_back(
    lab: Lab,
    client: Client,
    row: str,
    says: str = "",
    end_fault: Callable[[], object] | None = None,
) -> Iterator[None]:
    """The body makes a fault, which `end_fault` ends; held against a line of the table."""
    limits = read_table()[row]
    with open_held_flow(lab) as flow:
        assert flow.stdout is not None
        assert flow.stdout.readline() == "open\n"
        yield
        start_s = time.monotonic()
        client.wait_for(f"{says}; reconnecting")
        noticed_s = time.monotonic() - start_s
        if end_fault is not None:
            end_fault()
        start_s = time.monotonic()
        client.wait_for("is back")
        back_s = time.monotonic() - start_s
        assert flow.communicate(timeout=20)[0] == "ConnectionResetError\n"
    print(f"{row}: noticed {noticed_s:.1f} s, back {back_s:.1f} s")
    assert noticed_s <= limits.noticed_s
    assert back_s <= limits.back_s
    assert limits.lost.startswith("open ones")
    assert limits.leftovers == "none"
    assert lab.visit("http://tomcat.demo/")["status"] == 200
    assert read_session(lab)["tunnel"]["state"] == "connected"


# --- the laptop ---


def test_another_network_gives_another_address(lab: Lab) -> None:
    """And what was watched over connections from the old one is watched again."""
    with open_ready_client(lab) as client:
        try:
            row, ordeal = "address of the laptop changed", "a change of this machine's addresses"
            with broken_and_back(lab, client, row, ordeal):
                replace_address(lab, "192.168.64.10", "192.168.64.99")
            spec = {"ports": [{"port": ECHO}], "selector": {"app": "streams"}}
            ask(lab, "POST", f"{CORE}/demo/services", {"metadata": {"name": "late"}, "spec": spec})
            wait_until(lambda: lab.call(is_known, "late.demo"))
            ask(lab, "DELETE", f"{CORE}/demo/services/late")
            # The shadow doesn't know yet that nobody is at the old one, and would wait for it.
            assert lab.fault("forwards", deed="cut", laptop=1) == {"forwards": 1}
            assert client.end()[0] == 0
        finally:
            replace_address(lab, "192.168.64.99", "192.168.64.10")


def replace_address(lab: Lab, old: str, new: str) -> None:
    """As DHCP does it in another network; the route is as the lab makes it."""
    device = lab.run("sh", "-c", "ip -o route get 192.168.64.1").split()[2]
    route = f"192.168.64.0/24 dev {device} proto kernel scope link src {new} congctl cubic"
    lab.run(
        "sh",
        "-c",
        f"ip address del {old}/24 dev {device} && ip address add {new}/24 dev {device} && "
        f"ip route change {route}",
    )


def is_known(name: str) -> bool:
    try:
        socket.gethostbyname(name)
    except OSError:
        return False
    return True


def test_a_laptop_that_slept_while_its_connection_died(lab: Lab) -> None:
    """It asks when it wakes, and doesn't wait for the 12 s that its own questions would take."""
    with open_ready_client(lab) as client:
        row = "laptop asleep, its connection dead"
        with broken_and_back(lab, client, row, "s of sleep"):
            client.process.send_signal(signal.SIGSTOP)
            assert lab.fault("forwards", deed="stall", laptop=1) == {"forwards": 1}
            time.sleep(ASLEEP_S)  # that is the fault
            client.process.send_signal(signal.SIGCONT)
        lab.fault("forwards", deed="resume", laptop=1)
        assert client.end()[0] == 0


# --- who it is, and what it may ---


def test_a_token_that_expires_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    """What is open goes on; a tunnel that breaks comes back with the new token."""
    token = tmp_path / "token"
    path = tmp_path / "kubeconfig"

    def new_token() -> str:
        """Of the same user, whose former one is worth nothing from now on."""
        config = yaml.safe_load(add_user(lab.name, "ada", roles=build_roles("connect")).read_text())
        (user,) = config["users"]
        value = str(user["user"]["token"])
        user["user"] = {"tokenFile": str(token)}
        path.write_text(yaml.safe_dump(config))
        return value

    token.write_text(new_token())
    with open_ready_client(lab, "--kubeconfig", str(path)) as client:
        row = "token expired, and the port-forward cut"

        def log_in_again() -> None:
            wait_until(lambda: "(401)" in read_session(lab)["tunnel"]["reason"])
            token.write_text(newer)

        with broken_and_back(lab, client, row, end_fault=log_in_again):
            newer = new_token()
            assert lab.visit("http://tomcat.demo/")["status"] == 200
            assert lab.fault("forwards", deed="cut", laptop=1) == {"forwards": 1}
        assert client.end()[0] == 0


def test_a_right_that_is_taken_away_ends_it(lab: Lab) -> None:
    roles = build_roles("connect")
    path = add_user(lab.name, "ben", roles=roles)
    with open_ready_client(lab, "--kubeconfig", str(path)) as client:
        rules = [each for each in roles[0]["rules"] if each["resources"] != ["pods/portforward"]]
        ask(lab, "PATCH", f"{ROLES}/ktnet-lab-ben-0", {"rules": rules})
        assert lab.visit("http://tomcat.demo/")["status"] == 200
        lab.fault("forwards", deed="cut", laptop=1)
        code, said = client.wait()
        assert code == 5
        assert "pods/portforward in namespace demo" in said
        assert "docs/rights.md" in said


# --- what is in the cluster ---


def test_a_pod_deleted_that_was_reached_directly(lab: Lab) -> None:
    """Its successor has another address, and the way there stays outside what is captured."""
    with open_ready_client(lab, "--via", "direct") as client:
        first = find_pod(lab)
        with broken_and_back(lab, client, "pod deleted, --via direct"):
            at_once = {"gracePeriodSeconds": 0}
            ask(lab, "DELETE", f"{CORE}/demo/pods/{first['metadata']['name']}", at_once)
        second = find_pod(lab)
        assert second["status"]["podIP"] != first["status"]["podIP"]
        taken = lab.run("ip", "route", "get", second["status"]["podIP"])
        assert "ktnet0" not in taken
        assert client.end()[0] == 0


def find_pod(lab: Lab) -> dict[str, Any]:
    """The one that is the session's now."""
    name = read_session(lab)["pod"]
    (pod,) = [each for each in find(lab) if each["metadata"]["name"] == name]
    return pod


def test_a_namespace_that_is_deleted_ends_it(lab: Lab) -> None:
    ask(lab, "POST", CORE, {"metadata": {"name": "brief"}})
    wait_until(lambda: "default" in str(ask(lab, "GET", f"{CORE}/brief/serviceaccounts")))
    with open_ready_client(lab, "-n", "brief") as client:
        ask(lab, "DELETE", f"{CORE}/brief")
        code, said = client.wait()
        assert code == 11
        assert "namespace" in said
        assert "brief" in said
        assert len(said.splitlines()) <= 2
    wait_until(lambda: '"brief"' not in str(ask(lab, "GET", CORE)), 20)
