"""StatefulSets as kubectl and callers see them, and `ktnet exchange` of one, by its pods' names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import read_object
from connect_client import wait_until
from inbound_scene import ECHO, call, kubectl, open_app, open_command

from ktnet.lab.harness import Lab, open_lab
from ktnet.wire.record import ANNOTATION

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl runs the callers in pods"),
]

FIRST = "db-0.db.demo.svc.cluster.local"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"stateful-{os.getpid()}") as lab:
        yield lab


def read_names(lab: Lab, selector: str) -> dict[str, str]:
    """Name and uid of each pod."""
    listing = json.loads(kubectl(lab, "get", "pods", "-l", selector, "-o", "json"))
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in listing["items"]}


def build_queue(image: str = "lab/http-echo:1") -> dict[str, Any]:
    """Two pods in order, which serve what `call` asks."""
    labels = {"app": "queue"}
    container = {
        "name": "app",
        "image": image,
        "command": ["python3", "-c", ECHO.replace('"127.0.0.1"', '"0.0.0.0"'), "8080", "origin"],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "queue"},
        "spec": {
            "serviceName": "queue",
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def test_kubectl_works_with_statefulsets(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "queue.json"
    path.write_text(json.dumps(build_queue()))
    kubectl(lab, "apply", "--validate=false", "-f", str(path))
    kubectl(lab, "rollout", "status", "statefulset/queue", "--timeout=60s")
    assert kubectl(lab, "get", "statefulset", "queue").split()[3:5] == ["queue", "2/2"]
    assert "Pods Status:" in kubectl(lab, "describe", "statefulset", "queue")
    before = read_names(lab, "app=queue")
    assert before.keys() == {"queue-0", "queue-1"}

    kubectl(lab, "scale", "sts/queue", "--replicas=1")
    kubectl(lab, "wait", "pod/queue-1", "--for=delete", "--timeout=60s")
    assert read_names(lab, "app=queue") == {"queue-0": before["queue-0"]}
    kubectl(lab, "scale", "sts/queue", "--replicas=2")
    kubectl(lab, "wait", "sts/queue", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=60s")

    changed = build_queue()
    changed["spec"]["template"]["metadata"]["annotations"] = {"release": "2"}
    path.write_text(json.dumps(changed))
    kubectl(lab, "apply", "--validate=false", "-f", str(path))
    kubectl(lab, "rollout", "status", "statefulset/queue", "--timeout=60s")
    after = read_names(lab, "app=queue")
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())

    kubectl(lab, "delete", "statefulset", "queue")
    wait_until(lambda: read_names(lab, "app=queue") == {}, 30)


def test_an_exchanged_statefulset_is_still_reached_by_its_first_name(lab: Lab) -> None:
    before = read_object(lab, "statefulsets", "db")
    original = read_names(lab, "app=db")
    with open_app(lab, 8080):
        with open_command(lab, "exchange", "statefulset/db", "--expose", "8080") as client:
            client.wait_for("ready")
            taken = read_object(lab, "statefulsets", "db")
            assert taken["spec"]["replicas"] == 0
            assert ANNOTATION in taken["metadata"]["annotations"]
            # Once they are gone the name is nobody's but the shadow's.
            wait_until(lambda: len(read_names(lab, "app=db")) == 1, 30)
            (shadow,) = read_names(lab, "app=db")
            spec = read_object(lab, "pods", shadow)["spec"]
            assert (spec["hostname"], spec["subdomain"]) == ("db-0", "db")
            wait_until(lambda: is_answered_here(lab), 30)
            code, err = client.end()
            assert code == 0, err
            assert "db-1, db-2" in err + "".join(client.lines)
        after = read_object(lab, "statefulsets", "db")
        assert after["spec"] == before["spec"]
        assert after["metadata"].get("annotations") == before["metadata"].get("annotations")
        wait_until(lambda: read_names(lab, "app=db").keys() == original.keys(), 30)
    assert not set(read_names(lab, "app=db").values()) & set(original.values())


def is_answered_here(lab: Lab) -> bool:
    """Whether a caller of db-0 in the cluster gets to the laptop. Its name may be looked up before
    cluster DNS has it: then the caller ends with an error."""
    try:
        return call(lab, FIRST, 8080, "once", "id+7").get("answer", "").startswith("laptop 7 ")
    except subprocess.CalledProcessError:
        return False
