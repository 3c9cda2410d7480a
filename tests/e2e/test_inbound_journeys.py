"""Requests in the cluster that a process here answers: run, exchange, mesh.

Their callers are in the cluster as well: a connection's shadow.
"""

from __future__ import annotations

import time

import pytest
import yaml
from workload import PAGE, list_remains, read_workload, wait_until_gone

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

MINE = "this is the laptop"
PORT = 18083
LIMIT_S = 90.0


@pytest.fixture(scope="module")
def connected(machine, namespace):
    """While this machine is connected, it asks as a pod would."""
    with machine.session("connect", "-n", namespace), machine.serve(PORT, MINE):
        yield
    assert machine.call(list_remains, machine.kubeconfig, namespace) == []


@pytest.fixture
def url(connected, namespace):
    return f"http://web.{namespace}.svc.cluster.local/"


def wait_for(machine, url, *wanted):
    """Asks until each page was seen; endpoints change a moment later than what they follow."""
    seen, start_s = set(), time.monotonic()
    while not seen >= set(wanted):
        assert time.monotonic() - start_s < LIMIT_S, seen
        seen.update(machine.ask(url))


def settle(machine, url, page):
    """Asks until there is nothing else for a whole round: nodes hear of endpoints one by one."""
    start_s = time.monotonic()
    while (seen := machine.ask(url, 10)) != [page] * 10:
        assert time.monotonic() - start_s < LIMIT_S, seen


def test_run_a_service_of_ones_own(machine, namespace, connected):
    mine = f"http://mine.{namespace}.svc.cluster.local/"
    with machine.session("run", "mine", "-n", namespace, "--expose", f"{PORT}:80"):
        settle(machine, mine, MINE)
    machine.call(wait_until_gone, machine.kubeconfig, namespace, "mine")


@pytest.mark.parametrize("mode", ["scale", "selector"])
def test_exchange_and_give_back(machine, namespace, url, mode):
    before = machine.call(read_workload, machine.kubeconfig, namespace)
    assert before["ready"] == 2
    expose = ("--expose", f"{PORT}:8080")
    with machine.session("exchange", "web", "-n", namespace, "--mode", mode, *expose):
        settle(machine, url, MINE)
        during = machine.call(read_workload, machine.kubeconfig, namespace)
        assert (during["replicas"] == 0) == (mode == "scale")
        assert during["marks"], "what has to be put back is recorded where it was changed"
    assert machine.call(read_workload, machine.kubeconfig, namespace) == before
    settle(machine, url, PAGE)


def test_mesh_beside_the_others(machine, namespace, url):
    options = ("--expose", f"{PORT}:8080", "--version-mark", "alice", "--mode", "manual")
    before = machine.call(read_workload, machine.kubeconfig, namespace)
    with machine.session("mesh", "web", "-n", namespace, *options) as said:
        wait_for(machine, url, MINE, PAGE)
        assert machine.call(read_workload, machine.kubeconfig, namespace) == before
        text = "".join(said)
        assert "version=alice" in text
        rules = "apiVersion" + text.partition("apiVersion")[2].partition("\n✓")[0]
        kinds = [each["kind"] for each in yaml.safe_load_all(rules.split("\nready")[0])]
        assert kinds == ["DestinationRule", "VirtualService"]
    settle(machine, url, PAGE)
