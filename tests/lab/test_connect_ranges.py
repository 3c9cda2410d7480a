"""Which of the cluster's addresses a laptop has: of both families, Services only, and by name."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from api_client import ask
from connect_client import open_connection, open_ready_client, read_session
from name_scene import SLICES, make_service, pid_of_node

from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab

SERVICES6 = "fd00:10:96::/112"
ADDRESS6 = "fd00:10:96::80"
OUTSIDER = "172.31.99.7"
ATTEMPT_S = 3.0
"""What the kernel waits for a neighbour that is not there: three times a second."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"ranges-{os.getpid()}") as lab:
        make_dual_stack(lab)
        yield lab


def make_dual_stack(lab: Lab) -> None:
    """A cluster with IPv6 Services, one of them `dual`; a laptop whose IPv6 leads nowhere."""
    cidr = {"metadata": {"name": "ipv6"}, "spec": {"cidrs": [SERVICES6]}}
    ask(lab, "POST", "/apis/networking.k8s.io/v1/servicecidrs", cidr)
    make_service(lab, "dual", addresses=[lab.census()["tomcat"]["podIP"]])
    slice6 = {
        "metadata": {"name": "dual-6", "labels": {"kubernetes.io/service-name": "dual"}},
        "addressType": "IPv6",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ADDRESS6], "conditions": {"ready": True}}],
    }
    ask(lab, "POST", SLICES, slice6)
    lab.run("ip", "-6", "address", "add", "fd99::2/64", "dev", "eth0", "nodad")
    lab.run("ip", "-6", "route", "add", "default", "via", "fd99::1")


def find_families(name: str) -> list[str]:
    found = socket.getaddrinfo(name, 8080, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def try_ipv6(address: str) -> float:
    """Seconds until the kernel says that it can't be reached."""
    start_s = time.monotonic()
    with socket.socket(socket.AF_INET6) as sock, pytest.raises(OSError, match="No route to host"):
        sock.connect((address, 8080))
    return time.monotonic() - start_s


def visit(name: str) -> tuple[str, float]:
    """Tries the addresses in order, as most programs do: the peer's, and the seconds it took."""
    start_s = time.monotonic()
    with socket.create_connection((name, 8080), 10.0) as sock:
        return str(sock.getpeername()[0]), time.monotonic() - start_s


def routes6(lab: Lab) -> str:
    return lab.run("ip", "-6", "route", "show", "proto", "107")


def test_ipv6_of_the_cluster_falls_back_at_once(lab: Lab) -> None:
    pod = lab.census()["tomcat"]["podIP"]
    with open_connection(lab):
        assert set(lab.call(find_families, "dual.demo")) == {pod, ADDRESS6}
        assert f"unreachable {SERVICES6}" in routes6(lab)
        visits = [lab.call(visit, "dual.demo") for _ in range(3)]
        assert {peer for peer, _ in visits} == {pod}
        # Another address of this machine's IPv6 shows how long it takes without the route.
        waited_s = lab.call(try_ipv6, "fd98::1")
        assert waited_s > ATTEMPT_S / 2
        assert lab.call(try_ipv6, ADDRESS6) < waited_s / 4
        assert min(seconds for _, seconds in visits) < waited_s
    assert routes6(lab) == ""


@contextmanager
def open_outsider(lab: Lab) -> Iterator[None]:
    """A server that pods reach at an address of no range that the cluster names."""
    node = ("nsenter", f"--net=/proc/{pid_of_node(lab)}/ns/net")
    subprocess.run([*node, "ip", "address", "add", f"{OUTSIDER}/32", "dev", "lo"], check=True)
    program = (
        "import socket; server = socket.create_server(('', 8080))\n"
        "print(flush=True)\n"
        "while True: server.accept()[0].sendall(b'outsider')"
    ).replace("''", repr(OUTSIDER))
    server = subprocess.Popen([*node, sys.executable, "-c", program], stdout=subprocess.PIPE)
    with server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline()
            yield
        finally:
            server.kill()


def read_greeting(name: str) -> bytes:
    with socket.create_connection((name, 8080), 10.0) as sock:
        return sock.recv(100)


def test_addresses_outside_of_all_ranges_are_found_by_name(lab: Lab) -> None:
    make_service(lab, "outside", addresses=[OUTSIDER, "192.168.64.10", "93.184.216.34"])
    with open_outsider(lab), open_ready_client(lab) as client:
        before = routes4(lab)
        assert OUTSIDER not in before
        found = set(lab.call(find_families, "outside.demo"))
        assert found == {OUTSIDER, "192.168.64.10", "93.184.216.34"}
        assert routes4(lab) == sorted([*before, OUTSIDER])
        assert lab.call(read_greeting, OUTSIDER) == b"outsider"
        assert read_session(lab)["added"] == [f"{OUTSIDER}/32"]
        code, err = client.end()
    assert code == 0, err
    said = "".join(client.lines) + err
    assert f"{OUTSIDER} captured too: the cluster's DNS named it" in said
    assert "192.168.64.10 is named by the cluster's DNS, not captured" in said
    assert "93.184" not in said
    assert routes4(lab) == []


def routes4(lab: Lab) -> list[str]:
    lines = lab.run("ip", "route", "show", "proto", "107").splitlines()
    return sorted(line.split()[0] for line in lines)


def test_without_pod_addresses(lab: Lab) -> None:
    where = lab.census()["tomcat"]
    with open_connection(lab, "--no-pod-ips"):
        assert routes4(lab) == ["10.96.0.0/16"]
        assert where["podName"] in lab.visit(f"http://{where['clusterIP']}/")["body"]
        assert lab.call(find_families, "db-1.db.demo")
        done = subprocess.run(
            lab.exec("ip", "route", "get", where["podIP"]), check=False, capture_output=True
        )
        assert b"ktnet" not in done.stdout
