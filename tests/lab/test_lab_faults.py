"""Faults of a lab, by the command line and by the harness, as clients on its laptop meet them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import request

from ktnet.lab.harness import KTNET, Lab, open_lab
from ktnet.lab.state import LabDirectory

pytestmark = pytest.mark.lab

MAPS = "/api/v1/namespaces/demo/configmaps"

POST = """
import json, sys, urllib.request
sys.path.insert(0, sys.argv[1])
from api_client import request
for name in sys.argv[4:]:
    request("POST", sys.argv[2], sys.argv[3], {"metadata": {"name": name}})
    print(name, flush=True)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"faults-{os.getpid()}", "--laptops", "2") as lab:
        yield lab


def api(lab: Lab, method: str, path: str, body: Any = None) -> Any:
    return lab.call(request, method, str(LabDirectory(lab.name).kubeconfig), path, body)


def list_maps(lab: Lab) -> set[str]:
    names = {each["metadata"]["name"] for each in api(lab, "GET", MAPS)["items"]}
    return names - {"kube-root-ca.crt"}


def fault(lab: Lab, *arguments: str) -> str:
    command = [*KTNET, "lab", "fault", arguments[0], "--name", lab.name, *arguments[1:]]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_client_is_killed_on_its_nth_request(lab: Lab, moment: str) -> None:
    names = [f"{moment}-{number}" for number in range(1, 4)]
    fault(lab, "on-request", "2", "kill", "--moment", moment, "--method", "POST")
    here = str(Path(__file__).parent)
    kubeconfig = str(LabDirectory(lab.name).kubeconfig)
    client = subprocess.Popen(
        lab.exec(sys.executable, "-c", POST, here, kubeconfig, MAPS, *names, laptop=2),
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = client.communicate(timeout=60)
    assert client.returncode == -signal.SIGKILL
    assert said.split() == names[:1]
    done = 1 if moment == "before" else 2
    assert {name for name in list_maps(lab) if name.startswith(moment)} == set(names[:done])
    (happened,) = json.loads(fault(lab, "show"))["requests"]
    assert happened["killed"] == [client.pid]
    fault(lab, "clear")


def test_the_api_server_goes_and_comes_back(lab: Lab) -> None:
    fault(lab, "restart-api", "--seconds", "4")
    url = "https://192.168.64.1:6443/version"
    assert lab.visit(url)["error"] == "ECONNREFUSED"
    while lab.visit(url)["error"] == "ECONNREFUSED":
        pass
    assert list_maps(lab) is not None


def test_a_fault_that_makes_no_sense_is_refused(lab: Lab) -> None:
    command = [*KTNET, "lab", "fault", "restart-api", "--name", lab.name, "--seconds", "-1"]
    refused = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert refused.returncode != 0
    assert "seconds: 0 to 3600" in refused.stderr
