"""A whole `connect` of an ordinary user with a real sudo, and what sudo takes away from others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from connect_client import (
    CONNECT,
    start_client,
)
from sudo_user import UID
from unchanged import before, nothing_is_left  # noqa: F401  (of every test here)

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

BECOME = (sys.executable, str(Path(__file__).parent / "sudo_user.py"))
HELPER_ONLY = f"{sys.executable} -I -m ktnet.host.helper"
ANYTHING = "ALL"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if shutil.which("sudo") is None:
        pytest.fail("these tests take the Debian package sudo: see .ci/system-packages")
    with open_lab(f"sudo-{os.getpid()}") as lab:
        yield lab


@pytest.fixture
def home() -> Iterator[Path]:
    """Ada's, where she gets to."""
    with tempfile.TemporaryDirectory(prefix="ktnet-ada-") as directory:
        path = Path(directory)
        os.chown(path, UID, UID)
        yield path


def give_kubeconfig(lab: Lab, path: Path) -> Path:
    """Hers alone."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((lab.directory / "kubeconfig").read_bytes())
    path.chmod(0o600)
    for each in (path.parent, path):
        os.chown(each, UID, UID)
    return path


def read_uids(pid: int) -> set[int]:
    """Real, effective, saved and of the file system: proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {int(uid) for uid in next(line for line in lines if line.startswith("Uid")).split()[1:]}


def test_an_ordinary_user_connects(lab: Lab, home: Path) -> None:
    """By her own kubeconfig, as herself; only the helper is root, and has sudo's leave for that."""
    give_kubeconfig(lab, home / ".kube" / "config")
    around = (*BECOME, str(home), HELPER_ONLY, "env", "-u", "KUBECONFIG")
    with start_client(lab, around=around) as client:
        client.wait_for("ready")
        assert read_uids(client.pid) == {UID}
        assert lab.visit("http://tomcat.demo/")["status"] == 200
        assert client.end() == (0, "")
        assert "the cluster are as they were" in client.lines[-1]


def test_by_sudo_it_is_still_the_user_who_connects(lab: Lab, home: Path) -> None:
    """Root goes back to who called sudo: her home's kubeconfig, and not root's."""
    give_kubeconfig(lab, home / ".kube" / "config")
    around = (*BECOME, str(home), ANYTHING, "sudo", "-n")
    with start_client(lab, around=around) as client:
        client.wait_for("ready")
        assert lab.visit("http://tomcat.demo/")["status"] == 200
        her = (*BECOME, str(home), ANYTHING, *KTNET)
        (session,) = json.loads(run_on_laptop(lab, *her, "status", "-o", "json").stdout)["sessions"]
        assert read_uids(session["pid"]) == {UID}
        assert run_on_laptop(lab, *her, "disconnect").returncode == 0
        assert client.wait()[0] == 0


def test_what_sudo_strips_is_named(lab: Lab, home: Path) -> None:
    """Without sudo the same command reads it, so that is the way out."""
    path = give_kubeconfig(lab, home / "work.kubeconfig")
    variable = f"KUBECONFIG={path}"
    become = (*BECOME, str(home), ANYTHING, "env", variable)
    stripped = run_on_laptop(lab, *become, "sudo", "-n", *CONNECT)
    assert stripped.returncode == 2
    assert stripped.stderr.startswith("ktnet: no kubeconfig")
    assert "sudo may have removed $KUBECONFIG: run without it" in stripped.stderr
    assert len(stripped.stderr.splitlines()) == 2
    # It is found then: this is another namespace's error, by the API server of that file.
    read = run_on_laptop(lab, *become, *KTNET, "connect", "-n", "nonesuch")
    assert read.returncode == 11
    assert "nonesuch" in read.stderr


def test_a_user_whom_sudo_does_not_know(lab: Lab, home: Path) -> None:
    give_kubeconfig(lab, home / ".kube" / "config")
    become = (*BECOME, str(home), "/bin/true", "env", "-u", "KUBECONFIG")
    refused = run_on_laptop(lab, *become, *CONNECT)
    assert refused.returncode == 3
    assert "which sudo did not give" in refused.stderr
    assert "docs/host.md" in refused.stderr


def run_on_laptop(lab: Lab, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        lab.exec(*command), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
