"""How much a lab holds, how many stand side by side, and that they go without a trace."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import ask, request
from connect_client import wait_until
from test_lab_up import host_state, processes_of

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

DEMO = "/api/v1/namespaces/demo"
LAPTOPS = 3
LABS = 3
PORT = 8080


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"capacity-{os.getpid()}", "--laptops", str(LAPTOPS)) as lab:
        yield lab


def count_ready(lab: Lab) -> int:
    pods = ask(lab, "GET", f"{DEMO}/pods")["items"]
    conditions = [each["status"].get("conditions") or [] for each in pods]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in of) for of in conditions)


def fill(kubeconfig: str, pods: int, services: int) -> None:
    """On a laptop: a Deployment of so many pods, and so many Services that lead to all of them."""
    labels = {"app": "crowd"}
    container = {"name": "main", "image": "lab/python:1", "command": ["sleep", "600"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    deployment = {
        "metadata": {"name": "crowd"},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    request("POST", kubeconfig, "/apis/apps/v1/namespaces/demo/deployments", deployment)
    for number in range(services):
        ports = [{"port": 80, "targetPort": PORT}]
        service = {"metadata": {"name": f"s{number}"}, "spec": {"selector": labels, "ports": ports}}
        if not number:
            service["spec"]["selector"] = {"app": "tomcat"}
        request("POST", kubeconfig, f"{DEMO}/services", service)


def remove(kubeconfig: str, services: int) -> None:
    """On a laptop: what `fill` made."""
    deployment = "/apis/apps/v1/namespaces/demo/deployments/crowd"
    request("DELETE", kubeconfig, deployment, {"propagationPolicy": "Background"})
    for number in range(services):
        request("DELETE", kubeconfig, f"{DEMO}/services/s{number}")


@pytest.mark.parametrize(
    ("pods", "services"),
    [(20, 50), pytest.param(60, 200, marks=pytest.mark.soak)],
    ids=["few", "many"],
)
def test_pods_and_services(lab: Lab, pods: int, services: int) -> None:
    before = {plural: len(ask(lab, "GET", f"{DEMO}/{plural}")["items"]) for plural in PLURALS}
    missing = pods - before["pods"], services - before["services"]
    start_s = time.monotonic()
    lab.call(fill, str(lab.directory / "kubeconfig"), *missing)
    wait_until(lambda: count_ready(lab) == pods, 120)
    print(f"{pods} pods and {services} Services in {time.monotonic() - start_s:.1f} s")
    found = ask(lab, "GET", f"{DEMO}/services")["items"]
    assert len(found) == services
    addresses = {each["spec"]["clusterIP"] for each in found} - {"None"}
    assert len(addresses) == services - 1  # the demo's database is headless

    def endpoints(name: str) -> int:
        selector = f"labelSelector=kubernetes.io/service-name%3D{name}"
        path = f"/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices?{selector}"
        return sum(len(each["endpoints"] or []) for each in ask(lab, "GET", path)["items"])

    wait_until(lambda: endpoints(f"s{missing[1] - 1}") == missing[0], 60)
    # The first of them leads somewhere, for a caller in a pod.
    address = ask(lab, "GET", f"{DEMO}/services/s0")["spec"]["clusterIP"]
    wait_until(lambda: is_answered(lab, address), 60)
    for laptop in range(1, LAPTOPS + 1):
        url = "https://192.168.64.1:6443/version"
        said = lab.run(sys.executable, "-m", "ktnet.lab.visit", url, laptop=laptop)
        assert "CERTIFICATE_VERIFY_FAILED" in said  # it answers, by a certificate of its own
    lab.call(remove, str(lab.directory / "kubeconfig"), missing[1])
    wait_until(lambda: len(ask(lab, "GET", f"{DEMO}/pods")["items"]) == before["pods"], 60)


PLURALS = ("pods", "services")


def is_answered(lab: Lab, address: str) -> bool:
    """Whether a process of the cluster has an answer from there."""
    code = f"import urllib.request as u; print(u.urlopen('http://{address}/', timeout=5).status)"
    done = subprocess.run(
        lab.exec("kubectl", "-n", "demo", "exec", "deploy/web", "--", "python3", "-c", code),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout == "200\n"


@pytest.mark.alone
def test_labs_stand_side_by_side_and_go_without_a_trace() -> None:
    before = host_state()
    names = [f"side{number}-{os.getpid()}" for number in range(LABS)]
    try:
        run_all([*KTNET, "lab", "up", "--name", name] for name in names)
        for name in names:
            census = Lab(name).census()
            assert census["tomcat"]["podName"]
    finally:
        run_all([*KTNET, "lab", "down", "--name", name] for name in names)
    assert host_state() == before
    assert [each for name in names for each in processes_of(name)] == []


def run_all(commands: Any) -> None:
    """All at the same time, to their ends."""
    running = [subprocess.Popen(each, stdout=subprocess.DEVNULL) for each in commands]
    assert [process.wait(120) for process in running] == [0] * len(running)


@pytest.mark.alone
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "rounds", [3, pytest.param(100, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_up_and_down_again_and_again(rounds: int) -> None:
    before = host_state()
    name = f"again-{os.getpid()}"
    taken_s = []
    for _ in range(rounds):
        start_s = time.monotonic()
        with open_lab(name):
            taken_s.append(time.monotonic() - start_s)
        assert host_state() == before
        assert processes_of(name) == []
    print(f"lab up: median {statistics.median(taken_s):.2f} s of {rounds}", file=sys.stderr)
    # Three seconds on an idle machine; this only notices that something waits for a timeout.
    assert statistics.median(taken_s) < 20
