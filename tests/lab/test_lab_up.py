"""`ktnet lab`: what starts, what can be reached, and that nothing is left afterwards."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktnet.lab.control import ask
from ktnet.lab.harness import Lab, open_lab
from ktnet.lab.state import LabDirectory, LabState
from ktnet.lab.traffic import try_connect

pytestmark = pytest.mark.lab

KTNET = [sys.executable, "-m", "ktnet"]
UP_TIMEOUT_S = 60


def ktnet(*arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KTNET, *arguments],
        capture_output=True,
        text=True,
        check=check,
        timeout=UP_TIMEOUT_S,
        **options,
    )


@contextlib.contextmanager
def lab(name: str, *options: str) -> Iterator[LabState]:
    """A running lab, and what it wrote down about itself."""
    try:
        ktnet("lab", "up", "--name", name, *options)
        state = LabDirectory(name).read_running()
        assert state is not None
        yield state
    finally:
        ktnet("lab", "down", "--name", name)


def host_state() -> dict[str, Any]:
    """What a lab of this test run could leave on this machine."""

    def show(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return {
        "links": [each["ifname"] for each in json.loads(show("ip", "-json", "link"))],
        "routes": show("ip", "route", "show", "table", "all"),
        "rules": show("ip", "rule"),
        "nft": show("nft", "list", "ruleset"),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "labs": sorted(path.name for path in Path("/run").glob(f"ktnet-lab/*-{os.getpid()}")),
        "resolver": Path("/etc/resolv.conf").read_bytes(),
        "hosts": Path("/etc/hosts").read_bytes(),
    }


def processes_of(name: str) -> list[str]:
    """Processes whose command line names the lab, or that see its directory mounted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                mounts = (entry / "mountinfo").read_text()
                if f" lab up --name {name} " in f"{command} " or f"/run/ktnet-lab/{name}" in mounts:
                    found.append(f"{entry.name} {command}")
    return found


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with open_lab(f"up-{os.getpid()}", "--laptops", "2") as lab:
        yield lab


@pytest.mark.alone
def test_up_is_quick_and_down_leaves_nothing() -> None:
    name = f"quick-{os.getpid()}"
    before = host_state()
    start_s = time.monotonic()
    with lab(name):
        up_s = time.monotonic() - start_s
        state = host_state()
        assert state.pop("labs") == sorted([*before["labs"], name])
        assert state == {key: value for key, value in before.items() if key != "labs"}
        assert processes_of(name)
    assert host_state() == before
    assert processes_of(name) == []
    # Three seconds on an idle machine; this only notices that something waits for a timeout.
    assert up_s < 20


def test_up_twice_is_no_error(shared: Lab) -> None:
    before = LabDirectory(shared.name).read_running()
    assert "already up" in ktnet("lab", "up", "--name", shared.name).stdout
    assert LabDirectory(shared.name).read_running() == before


def test_the_laptop_has_what_it_needs(shared: Lab) -> None:
    directory = LabDirectory(shared.name)
    show = ("sh", "-c", "echo $KUBECONFIG; cat /etc/resolv.conf; ls /run; pwd; echo $https_proxy")
    expected = (
        f"{directory.kubeconfig}\nnameserver 192.168.64.53\nsearch office.example\nktnet-lab\n"
        f"{Path.cwd()}\n\n"
    )
    proxy = {**os.environ, "https_proxy": "http://192.0.2.1:3128"}
    assert ktnet("lab", "exec", "--name", shared.name, "--", *show, env=proxy).stdout == expected
    # Tests and benchmarks go another way.
    command = shared.exec(*show)
    assert (
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=proxy).stdout
        == expected
    )
    assert ktnet("lab", "kubeconfig", "--name", shared.name).stdout == f"{directory.kubeconfig}\n"
    assert "192.168.64.11" in shared.run("ip", "address", laptop=2)


def test_exec_passes_arguments_and_exit_codes_through(shared: Lab) -> None:
    options = ("lab", "exec", "--name", shared.name)
    assert ktnet(*options, "echo", "-n", "--name", "x").stdout == "--name x"
    assert ktnet(*options, "--", "sh", "-c", "exit 7", check=False).returncode == 7
    assert ktnet(*options, "--", "sh", "-c", "kill $$", check=False).returncode == -signal.SIGTERM
    assert ktnet(*options, "--", "no-such-command", check=False).returncode == 2
    assert ktnet(*options, "--laptop", "3", "--", "true", check=False).returncode == 11
    nowhere = ktnet("lab", "exec", "--name", f"absent-{os.getpid()}", "--", "true", check=False)
    assert nowhere.returncode == 11
    assert "hint" in nowhere.stderr


def test_kubectl_works_on_the_laptop(shared: Lab) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    assert "tomcat" in shared.run("kubectl", "get", "pods", "-A")


def test_the_laptop_has_no_way_to_the_cluster(shared: Lab) -> None:
    tomcat = shared.census()["tomcat"]
    for url in (f"http://{tomcat['clusterIP']}/", f"http://{tomcat['podIP']}:8080/"):
        assert shared.visit(url)["error"] == "ENETUNREACH"


def test_not_even_by_a_route_of_its_own(shared: Lab) -> None:
    tomcat = shared.census(laptop=2)["tomcat"]
    for network in ("10.96.0.0/16", "10.244.0.0/16"):
        shared.run("ip", "route", "add", network, "via", "192.168.64.1", laptop=2)
    for address, port in ((tomcat["clusterIP"], 80), (tomcat["podIP"], 8080)):
        outcome, _ = shared.call(try_connect, address, port, 0.3, laptop=2)
        assert outcome == "timeout"


def test_status_says_what_runs(shared: Lab) -> None:
    said = ktnet("lab", "status", "--name", shared.name, "-o", "json").stdout
    (found,) = json.loads(said)["labs"]
    assert found["name"] == shared.name
    assert [each["name"] for each in found["laptops"]] == ["laptop-1", "laptop-2"]
    demo = [pod for pod in found["pods"] if pod["namespace"] == "demo"]
    assert len(demo) == 8
    assert all(pod["ready"] for pod in demo)
    assert shared.name in ktnet("lab", "status").stdout


def test_the_offices_resolver_remembers_who_asked(shared: Lab) -> None:
    lookup = "import socket; print(*map(socket.gethostbyname, ('intranet', 'foo.io')))"
    assert shared.run(sys.executable, "-c", lookup) == "192.168.64.80 203.0.113.20\n"
    asked = ask(LabDirectory(shared.name).socket, {"do": "office-queries"})
    assert {("intranet.office.example", "192.168.64.10"), ("foo.io", "192.168.64.10")} <= {
        (each["name"], each["asker"]) for each in asked
    }


def test_two_labs_stand_side_by_side(shared: Lab) -> None:
    with open_lab(f"second-{os.getpid()}") as second:
        pods = {lab.census()["tomcat"]["podName"] for lab in (shared, second)}
        assert len(pods) == 2
    assert shared.census()["tomcat"]["podName"] in pods


@pytest.mark.alone
def test_up_after_a_kill_cleans_what_was_left() -> None:
    name = f"killed-{os.getpid()}"
    before = host_state()
    with lab(name) as first:
        resident = subprocess.Popen(
            [*KTNET, "lab", "exec", "--name", name, "--", "sh", "-c", "echo here; exec sleep 1000"],
            stdout=subprocess.PIPE,
        )
        assert resident.stdout is not None
        with resident, resident.stdout:
            assert resident.stdout.readline() == b"here\n"
            daemon = os.pidfd_open(first.daemon.pid)
            signal.pidfd_send_signal(daemon, signal.SIGKILL)
            select.select([daemon], [], [])
            os.close(daemon)
            with contextlib.suppress(ProcessLookupError):
                holder = os.pidfd_open(first.laptops[0].holder.pid)
                assert select.select([holder], [], [], 5)[0]
                os.close(holder)
            with lab(name) as second:
                assert resident.wait(5) == -signal.SIGTERM
                assert second.daemon != first.daemon
                assert Lab(name).census()["tomcat"]
    assert host_state() == before
    assert processes_of(name) == []


def test_down_ends_what_runs_on_the_laptops() -> None:
    name = f"busy-{os.getpid()}"
    with lab(name):
        resident = subprocess.Popen(
            [*KTNET, "lab", "exec", "--name", name, "--", "sh", "-c", "echo here; exec sleep 1000"],
            stdout=subprocess.PIPE,
        )
        assert resident.stdout is not None
        resident.stdout.readline()
    with resident, resident.stdout:
        assert resident.wait(5) == -signal.SIGTERM


def test_down_without_a_lab_is_no_error() -> None:
    assert "there is no lab" in ktnet("lab", "down", "--name", f"absent-{os.getpid()}").stdout


@pytest.mark.alone
def test_a_failing_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    name = f"failing-{os.getpid()}"
    before = host_state()
    # Without nft in the PATH the node can't have its rules.
    result = ktnet(
        "lab", "up", "--name", name, check=False, env={**os.environ, "PATH": str(tmp_path)}
    )
    assert result.returncode == 1
    assert "nft" in result.stderr
    assert host_state() == before
    assert processes_of(name) == []
