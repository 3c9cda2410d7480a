"""Services and DNS of a lab, as its node and its pods see them."""

import functools
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api_client import request
from dnslib import DNSRecord

from ktnet.lab.entering import enter
from ktnet.lab.harness import Lab, open_lab
from ktnet.lab.state import LabDirectory
from ktnet.lab.traffic import try_connect

pytestmark = pytest.mark.lab

DNS = "10.96.0.10"
DEMO = "/api/v1/namespaces/demo"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"services-{os.getpid()}") as lab:
        yield lab


def on_node(lab: Lab, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function in the node's network namespace, in a process of its own."""
    state = LabDirectory(lab.name).read_running()
    assert state is not None
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, initializer=enter, initargs=(state.daemon.pid,)) as pool:
        return pool.apply(function, arguments)


def api(lab: Lab, method: str, path: str, body: Any = None) -> Any:
    return on_node(lab, request, method, str(LabDirectory(lab.name).kubeconfig), path, body)


def service_address(lab: Lab, name: str) -> str:
    return str(api(lab, "GET", f"{DEMO}/services/{name}")["spec"]["clusterIP"])


def exchange_datagram(host: str, port: int, timeout_s: float) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(timeout_s)
        client.connect((host, port))
        client.send(b"hello")
        return client.recv(100)


def look_up(questions: list[tuple[str, str]], *, tcp: bool) -> list[list[str]]:
    """For each (name, type) what the cluster's DNS answers, or its response code."""
    answers = []
    for name, kind in questions:
        query = DNSRecord.question(name, kind)
        answer = DNSRecord.parse(query.send(DNS, 53, tcp=tcp, timeout=5))
        answers.append(sorted(str(each.rdata) for each in answer.rr) or [str(answer.header.rcode)])
    return answers


def wait_for_outcome(host: str, port: int, wanted: str) -> float:
    """Connects until it ends as wanted; the seconds that took."""
    start_s = time.monotonic()
    while try_connect(host, port, 1.0)[0] != wanted:
        if time.monotonic() - start_s > 10:
            return float("inf")
        time.sleep(0.01)
    return time.monotonic() - start_s


def run_program(lab: Lab, name: str, program: str, labels: dict[str, str]) -> str:
    """Runs a Python program in a pod to its end; the pod's phase then."""
    container = {"name": "main", "image": "lab/python:1", "command": ["python", "-c", program]}
    pod = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    api(lab, "POST", f"{DEMO}/pods", pod)
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        phase = api(lab, "GET", f"{DEMO}/pods/{name}")["status"].get("phase")
        if phase in {"Succeeded", "Failed"}:
            break
        time.sleep(0.1)
    api(lab, "DELETE", f"{DEMO}/pods/{name}")
    return str(phase)


@pytest.mark.alone
def test_a_service_answers_and_its_other_ports_are_refused_at_once(lab: Lab) -> None:
    address = service_address(lab, "web")
    assert on_node(lab, try_connect, address, 80, 2.0)[0] == "connected"
    outcome, seconds = on_node(lab, try_connect, address, 81, 2.0)
    assert outcome == "ECONNREFUSED"
    assert seconds < 0.05


def test_an_address_that_no_service_has_is_silent(lab: Lab) -> None:
    assert on_node(lab, try_connect, "10.96.255.254", 80, 0.5)[0] == "timeout"


def test_udp_goes_to_the_pod_and_back(lab: Lab) -> None:
    assert on_node(lab, exchange_datagram, service_address(lab, "udp-echo"), 7, 2.0) == b"hello"


def test_endpoints_come_and_go(lab: Lab) -> None:
    address = service_address(lab, "web")
    scale = "/apis/apps/v1/namespaces/demo/deployments/web/scale"
    api(lab, "PATCH", scale, {"spec": {"replicas": 0}})
    assert on_node(lab, wait_for_outcome, address, 80, "ECONNREFUSED") < 5
    api(lab, "PATCH", scale, {"spec": {"replicas": 2}})
    assert on_node(lab, wait_for_outcome, address, 80, "connected") < 5


@pytest.mark.parametrize("tcp", [False, True])
def test_cluster_dns(lab: Lab, tcp: bool) -> None:
    pods = api(lab, "GET", f"{DEMO}/pods?labelSelector=app%3Ddb")["items"]
    addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods}
    expected = {
        ("tomcat.demo.svc.cluster.local", "A"): [service_address(lab, "tomcat")],
        ("tomcat.demo.svc.cluster.local", "AAAA"): ["0"],
        ("absent.demo.svc.cluster.local", "A"): ["3"],
        ("example.com", "A"): ["2"],
        ("db.demo.svc.cluster.local", "A"): sorted(addresses.values()),
        ("db-1.db.demo.svc.cluster.local", "A"): [addresses["db-1"]],
    }
    answers = on_node(lab, functools.partial(look_up, tcp=tcp), list(expected))
    assert dict(zip(expected, answers, strict=True)) == expected


def test_a_pod_uses_services_by_name(lab: Lab) -> None:
    program = (
        "import urllib.request as u\n"
        "for name in ('tomcat', 'web.demo', 'tomcat.demo.svc.cluster.local', 'db-0.db:8080'):\n"
        "    assert u.urlopen(f'http://{name}/', timeout=3).status == 200, name\n"
    )
    assert run_program(lab, "client", program, {}) == "Succeeded"


def test_a_pod_is_refused_at_once_where_a_service_has_no_such_port(lab: Lab) -> None:
    program = (
        "import socket, time\n"
        "for kind, port in ((socket.SOCK_STREAM, 81), (socket.SOCK_DGRAM, 8)):\n"
        "    client = socket.socket(type=kind)\n"
        "    client.settimeout(3)\n"
        "    start = time.monotonic()\n"
        "    try:\n"
        "        client.connect(('udp-echo', port))\n"
        "        client.send(b'x')\n"
        "        client.recv(1)\n"
        "    except ConnectionRefusedError:\n"
        "        assert time.monotonic() - start < 0.5\n"
        "    else:\n"
        "        raise SystemExit('not refused')\n"
    )
    assert run_program(lab, "refused", program, {}) == "Succeeded"


def test_a_pod_reaches_itself_through_its_service(lab: Lab) -> None:
    ports = [{"port": 80, "targetPort": 8080}]
    service = {
        "metadata": {"name": "mirror"},
        "spec": {"selector": {"app": "mirror"}, "ports": ports},
    }
    # By address: a name asked for too early is denied for 30 s, as in a real cluster.
    address = api(lab, "POST", f"{DEMO}/services", service)["spec"]["clusterIP"]
    program = (
        "import socket, time\n"
        "server = socket.create_server(('0.0.0.0', 8080))\n"
        "for _ in range(100):\n"
        "    try:\n"
        f"        client = socket.create_connection(({address!r}, 80), 1)\n"
        "        break\n"
        "    except (ConnectionRefusedError, TimeoutError):\n"
        "        time.sleep(0.05)\n"
        "server.accept()\n"
    )
    assert run_program(lab, "narcissus", program, {"app": "mirror"}) == "Succeeded"
