"""`--sideload`: from a cluster that has no image of ours to a connection, and nothing else run."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import request
from connect_client import (
    CONNECT,
    HOST_STATE,
    OBJECTS,
    differences,
    open_client,
    read_session,
    wait_until,
)

from ktnet.cluster.rights import build_rules, list_required
from ktnet.cluster.sideload.platforms import Platform
from ktnet.cluster.sideload.wheels import build_pip_command
from ktnet.lab.harness import Lab, open_lab

pytestmark = pytest.mark.lab

ARCH = "arm64" if os.uname().machine == "aarch64" else "amd64"
CORE = "/api/v1/namespaces/demo"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"sideload-{os.getpid()}") as lab:
        levels = {"pod-security.kubernetes.io/enforce": "restricted"}
        ask(lab, "PATCH", "/api/v1/namespaces/demo", {"metadata": {"labels": levels}})
        yield lab


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the lock, fetched where there is an index: a laptop of the lab has none."""
    folder = tmp_path_factory.mktemp("wheels")
    command = build_pip_command(Platform(sys.version_info.minor, ARCH), None, str(folder))
    subprocess.run(command, check=True, capture_output=True)
    return folder


def ask(lab: Lab, method: str, path: str, body: Any = None) -> Any:
    return lab.call(request, method, str(lab.directory / "kubeconfig"), path, body)


def list_parts(lab: Lab) -> list[dict[str, Any]]:
    found = ask(lab, "GET", f"{CORE}/configmaps")["items"]
    return [each for each in found if "-code-" in each["metadata"]["name"]]


def test_from_no_image_of_ours_to_connected(
    lab: Lab, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pip's own settings, and with just the rights that are listed."""
    for wheel in wheels.iterdir():
        name = wheel.name.partition("-")[0].replace("_", "-")
        page = tmp_path / name / "index.html"
        page.parent.mkdir()
        page.write_text(f'<a href="{wheel.as_uri()}">{wheel.name}</a>')
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", tmp_path.as_uri())
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    before = lab.census()
    user = lab.user("ada", *build_rules(list_required("connect", sideload=True)))
    options = ("--kubeconfig", str(user), "--include", "10.96.0.0/16")
    with open_client(lab, "--sideload", *options) as client:
        client.wait_for("ready")
        ready_s = float(re.findall(r"ready in ([\d.]+) s", client.lines[-1])[0])
        assert ready_s < 6
        session = read_session(lab)
        assert session["image"] == f"python:3.{sys.version_info.minor}-slim"
        assert lab.visit("http://tomcat.demo.svc.cluster.local/")["status"] == 200
        (job,) = ask(lab, "GET", "/apis/batch/v1/namespaces/demo/jobs")["items"]
        parts = list_parts(lab)
        assert 5 <= len(parts) <= 8
        for part in parts:
            assert [o["uid"] for o in part["metadata"]["ownerReferences"]] == [
                job["metadata"]["uid"]
            ]
            assert len(base64.b64decode(*part["binaryData"].values())) <= 1 << 20
        assert client.end() == (0, "")
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []


def test_what_was_changed_in_the_cluster_is_not_run(lab: Lab, wheels: Path) -> None:
    before = lab.census()
    with open_client(lab, "--sideload", "--sideload-wheels", str(wheels)) as client:
        client.wait_for("ready")
        pod = read_session(lab)["pod"]
        victim = list_parts(lab)[2]
        name = victim["metadata"]["name"]
        content = bytearray(base64.b64decode(*victim["binaryData"].values()))
        content[1000] ^= 1
        ask(lab, "DELETE", f"{CORE}/configmaps/{name}")
        evil = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "ownerReferences": victim["metadata"]["ownerReferences"],
            },
            "binaryData": {name: base64.b64encode(content).decode()},
        }
        ask(lab, "POST", f"{CORE}/configmaps", evil)
        ask(lab, "DELETE", f"{CORE}/pods/{pod}")
        wait_until(lambda: any("nothing is run" in words for words in list_last_words(lab)), 30)
        client.end(signal.SIGINT)
    wait_until(lambda: not differences(before, lab.census(), *HOST_STATE, *OBJECTS))


def list_last_words(lab: Lab) -> list[str]:
    """What ended containers of shadows said."""
    return [
        (state.get("terminated") or {}).get("message") or ""
        for pod in ask(lab, "GET", f"{CORE}/pods?labelSelector=ktnet.dev/session")["items"]
        for container in pod["status"].get("containerStatuses", ())
        for state in (container["state"], container.get("lastState") or {})
    ]


@pytest.mark.soak
def test_a_replaced_pod_finds_them_with_the_laptop_away(lab: Lab, wheels: Path) -> None:
    options = ("--sideload", "--sideload-wheels", str(wheels), "--idle", "60")
    with open_client(lab, *options) as client:
        client.wait_for("ready")
        pod = read_session(lab)["pod"]
        os.kill(client.pid, signal.SIGSTOP)
        ask(lab, "DELETE", f"{CORE}/pods/{pod}")
        # The Job's controller waits 10 s before it replaces a pod.
        wait_until(lambda: bool(list_running(lab) - {pod}), 40)
        os.kill(client.pid, signal.SIGCONT)
        wait_until(lambda: read_session(lab)["state"] == "connected", 40)
        assert lab.visit("http://tomcat.demo.svc.cluster.local/")["status"] == 200
        client.end()


def list_running(lab: Lab) -> set[str]:
    listing = ask(lab, "GET", f"{CORE}/pods?labelSelector=ktnet.dev/session")
    return {
        pod["metadata"]["name"]
        for pod in listing["items"]
        if any("running" in each["state"] for each in pod["status"].get("containerStatuses", ()))
    }


def test_a_tampered_wheel_never_leaves_the_laptop(lab: Lab, wheels: Path, tmp_path: Path) -> None:
    for wheel in wheels.iterdir():
        (tmp_path / wheel.name).write_bytes(wheel.read_bytes())
    with next(tmp_path.glob("hpack-*")).open("ab") as file:
        file.write(b"!")
    before = lab.census()
    command = lab.exec(*CONNECT, "--sideload", "--sideload-wheels", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert "HASHES" in done.stderr
    assert differences(before, lab.census(), *HOST_STATE, *OBJECTS) == []
