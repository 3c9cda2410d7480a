"""Shadows that are evicted or drained: `connect` survives it, as docs/breaks.md says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import ask
from break_scene import Row, find
from connect_client import (
    HOST_STATE,
    OBJECTS,
    Client,
    differences,
    open_ready_client,
    read_session,
    wait_until,
)

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

TABLE = Path(__file__).parents[2] / "docs" / "breaks.md"
ENDS = {
    "evicted": "evict",
    "drained": "drain",
}
"""What happens to the shadow, by `ktnet lab fault`."""


def read_table() -> dict[str, Row]:
    """The table of what a cluster does: with the fault's command as its second column."""
    rows = {}
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and re.fullmatch(r"\d+ s", cells[2]):
            noticed_s, back_s = (float(cell[:-2]) for cell in cells[2:4])
            rows[cells[0]] = Row(noticed_s, back_s, cells[4], cells[5])
    return rows


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"evicted-{os.getpid()}") as lab:
        yield lab


@pytest.fixture(scope="module")
def client(lab: Lab) -> Iterator[Client]:
    before = lab.census()
    with open_ready_client(lab) as client:
        yield client
        code, said = client.end()
        assert (code, said) == (0, "")
    wait_until(lambda: differences(before, lab.census(), *HOST_STATE, "jobs", "leases") == [])
    assert set(OBJECTS) > {"jobs", "leases"}


def fault(lab: Lab, *arguments: str) -> str:
    command = [*KTNET, "lab", "fault", arguments[0], "--name", lab.name, *arguments[1:]]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def address(lab: Lab) -> str:
    path = "/api/v1/namespaces/demo/services/tomcat"
    return str(ask(lab, "GET", path)["spec"]["clusterIP"])


def test_every_line_of_the_table_is_made() -> None:
    assert read_table().keys() == ENDS.keys()


@pytest.mark.parametrize("end", ENDS)
def test_it_comes_back(lab: Lab, client: Client, end: str) -> None:
    limits = read_table()[end]
    shadow = read_session(lab)["pod"]
    start_s = time.monotonic()
    assert f"demo/{shadow}" in lab.fault(ENDS[end])["evicted"]
    client.wait_for("reconnecting")
    noticed_s = time.monotonic() - start_s
    if end == "drained":
        # There is no other node: until this one is back nothing can run.
        assert read_session(lab)["state"] == "reconnecting"
        assert "lab-node" in fault(lab, "uncordon")
    start_s = time.monotonic()
    client.wait_for("is back")
    back_s = time.monotonic() - start_s
    print(f"{end}: noticed {noticed_s:.1f} s, back {back_s:.1f} s")
    assert noticed_s <= limits.noticed_s
    assert back_s <= limits.back_s
    assert limits.lost.startswith("open ones")
    assert limits.leftovers == "none"
    wait_until(lambda: lab.visit(f"http://{address(lab)}/").get("status") == 200, 30)
    assert read_session(lab)["pod"] != shadow
    # The connections that were open have the pod's grace to end by themselves.
    wait_until(lambda: [obj["kind"] for obj in find(lab)] == ["Job", "Lease", "Pod"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl asks here")
def test_kubectl_drains_and_budgets_forbid(lab: Lab) -> None:
    def kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = lab.exec("kubectl", "-n", "demo", *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "echo"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "udp-echo"}}},
    }
    ask(lab, "POST", "/apis/policy/v1/namespaces/demo/poddisruptionbudgets", budget)
    wait_until(lambda: '"observedGeneration"' in kubectl("get", "pdb", "echo", "-o", "json").stdout)
    drained = kubectl("drain", "lab-node", "--pod-selector=app=udp-echo", "--timeout=1s", "--force")
    assert drained.returncode != 0
    assert "Cannot evict pod as it would violate" in drained.stderr
    assert "SchedulingDisabled" in kubectl("get", "node", "lab-node").stdout
    assert kubectl("delete", "pdb", "echo").returncode == 0
    drained = kubectl("drain", "lab-node", "--pod-selector=app=udp-echo", "--timeout=60s")
    assert drained.returncode == 0, drained.stderr
    assert drained.stdout.count("evicted") == 1
    assert kubectl("uncordon", "lab-node").returncode == 0
    rolled = kubectl("rollout", "status", "deployment/udp-echo", "--timeout=60s")
    assert rolled.returncode == 0, rolled.stderr
