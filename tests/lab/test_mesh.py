"""`ktnet mesh --mode manual`: a version of one's own beside the stable one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml
from api_client import ask
from connect_client import OBJECTS, Client, differences, wait_until

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

DEMO = "/api/v1/namespaces/demo"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"mesh-{os.getpid()}") as lab:
        yield lab


@contextmanager
def open_mesh(lab: Lab, *options: str) -> Iterator[Client]:
    process = subprocess.Popen(
        lab.exec(*KTNET, "mesh", "tomcat", "-n", "demo", "--mode", "manual", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            yield Client(process)
        finally:
            process.kill()


@contextmanager
def open_server(lab: Lab, port: int) -> Iterator[None]:
    command = lab.exec("python3", "-m", "http.server", "-b", "127.0.0.1", str(port))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


def ready_addresses(lab: Lab) -> list[str]:
    """Where Service tomcat leads."""
    label = "labelSelector=kubernetes.io/service-name%3Dtomcat"
    return [
        address
        for each in ask(lab, "GET", f"{SLICES}?{label}")["items"]
        for endpoint in each["endpoints"]
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
    ]


def test_a_marked_pod_joins_the_service_and_leaves_it(lab: Lab) -> None:
    before = lab.census()
    stable = ready_addresses(lab)
    with (
        open_server(lab, 8080),
        open_mesh(lab, "--expose", "8080", "--version-mark", "alice") as client,
    ):
        client.wait_for("ready")
        said = "".join(client.lines)
        assert "version=alice on tomcat-kt-alice" in said
        assert "random share" in said
        selector = "labelSelector=ktnet.dev/session%3Dtomcat-kt-alice"
        (pod,) = ask(lab, "GET", f"{DEMO}/pods?{selector}")["items"]
        assert pod["metadata"]["labels"]["version"] == "alice"
        assert "pod-template-hash" not in pod["metadata"]["labels"]
        wait_until(
            lambda: sorted(ready_addresses(lab)) == sorted([*stable, pod["status"]["podIP"]])
        )
        rules = said.partition("apiVersion")
        rule, routes = yaml.safe_load_all(
            (rules[1] + rules[2]).partition("\n✓")[0].split("ready")[0]
        )
        assert (rule["kind"], routes["kind"]) == ("DestinationRule", "VirtualService")
        code, err = client.end()
        assert (code, err) == (0, "")
    assert differences(before, lab.census(), *OBJECTS) == []
    wait_until(lambda: ready_addresses(lab) == stable)


def test_a_mark_is_one_users(lab: Lab) -> None:
    with (
        open_server(lab, 8080),
        open_mesh(lab, "--expose", "8080", "--version-mark", "bob") as first,
    ):
        first.wait_for("ready")
        with open_mesh(lab, "--expose", "8080", "--version-mark", "bob") as second:
            code, err = second.wait()
        assert code == 10
        assert "tomcat-kt-bob" in err
        first.end()


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--expose", "8080", "--version-mark", "a b"), 2), (("--expose", "70000"), 2)],
)
def test_bad_input(lab: Lab, options: tuple[str, ...], code: int) -> None:
    with open_mesh(lab, *options) as client:
        found, err = client.wait()
    assert found == code
    assert err.startswith("ktnet: ")


def test_unknown_workload(lab: Lab) -> None:
    command = lab.exec(*KTNET, "mesh", "nobody", "-n", "demo", "--expose", "8080")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 11
    assert "nobody" in done.stderr
