"""Firewalls of the laptop: what they eat is found out before anything is routed, and told."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from connect_client import HOST_STATE, differences, open_client, open_ready_client, read_session
from forked_command import ask_command
from name_scene import in_namespace, pid_of_laptop

from ktnet.lab import traffic
from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

UNUSED = "10.244.0.250"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"firewall-{os.getpid()}") as lab:
        yield lab


@contextmanager
def firewall(lab: Lab, *accepted: str) -> Iterator[None]:
    """Drops all that arrives but this."""
    laptop = pid_of_laptop(lab)
    rules = [f"add rule inet wall in {rule}" for rule in ('iif "lo" accept', *accepted)]
    chain = "add chain inet wall in { type filter hook input priority 0; policy drop; }"
    in_namespace(laptop, "add table inet wall", chain, *rules)
    try:
        yield
    finally:
        in_namespace(laptop, "delete table inet wall")


def check(lab: Lab) -> dict[str, str]:
    """The firewall's line of `ktnet check`."""
    command = lab.exec(*KTNET, "check", "-n", "demo", "-o", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    checks = json.loads(done.stdout)["checks"]
    return next(dict(each) for each in checks if each["name"] == "firewall")


def send_datagram(address: str) -> str:
    """What an application hears that sends UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(1.0)
        datagrams.connect((address, 9999))
        datagrams.send(b"?")
        try:
            datagrams.recv(16)
        except TimeoutError:
            return "silence"
        except OSError as error:
            return type(error).__name__
    return "an answer"


def test_a_firewall_that_eats_icmp_errors(lab: Lab) -> None:
    """The usual one: what belongs to a connection may come in, and nothing else."""
    where = lab.census()["tomcat"]
    with firewall(lab, "ct state established accept"):
        found = check(lab)
        assert (found["result"], "related" in found["hint"]) == ("warn", True)
        with open_ready_client(lab) as client:
            assert where["podName"] in lab.visit(f"http://{where['clusterIP']}/")["body"]
            assert lab.call(traffic.try_connect, UNUSED, 80, 10.0)[0] == "ECONNREFUSED"
            assert lab.call(traffic.try_connect, where["podIP"], 81, 5.0)[0] == "ECONNREFUSED"
            assert lab.call(send_datagram, where["podIP"]) == "silence"
            assert read_session(lab)["icmp_errors"] is False
            assert "drops ICMP errors" in ask_command(lab, "status", "--local")
            code, err = client.end()
    assert code == 0, err
    assert "drops ICMP errors" in "".join(client.lines) + err


def test_a_firewall_that_eats_everything(lab: Lab) -> None:
    before = lab.census()
    with (
        firewall(lab, 'iifname "eth0" accept'),
        open_client(lab) as client,
    ):
        code, err = client.wait()
    assert code == 8, err
    assert "a firewall of this machine drops what is sent into ktnet0 or comes out of it" in err
    assert 'iifname "ktnet0" accept' in err
    assert not any("capture" in line for line in client.lines)
    assert differences(before, lab.census(), *HOST_STATE) == []
