"""Both images as their Dockerfiles build them: small, quick, without rights, and they work.

The shadow's root file system is what the lab's shadow pods run here, and the connect tests pass
with it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_client import ask
from image_build import BuiltImage, build_images, count_bytes
from test_connect_promises import (  # noqa: F401  (they run here once more, with the built image)
    connection,
    test_closed_port_is_refused_quickly,
    test_cluster_half_closes,
    test_cluster_names_answer,
    test_cluster_resets,
    test_headless_pod_name_answers,
    test_laptop_half_closes,
    test_outside_names_go_to_the_old_resolver,
    test_pod_address_answers,
    test_service_address_answers,
    test_undefined_service_port_is_refused,
    test_unknown_cluster_name_is_unknown,
    where,
)

from ktnet.lab.harness import Connection, Lab, open_lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

MIB = 1 << 20
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BuiltImage]]:
    with build_images(tmp_path_factory.mktemp("images")) as images:
        yield images


@pytest.fixture(scope="module")
def unpacked(
    images: dict[str, BuiltImage], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Each image as the lab takes it."""
    found = {}
    for name, image in images.items():
        found[name] = tmp_path_factory.mktemp(name)
        (found[name] / "rootfs").symlink_to(image.root)
        (found[name] / "config.json").write_text(json.dumps(image.config))
    return found


@pytest.fixture(scope="module")
def lab(unpacked: dict[str, Path]) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        images = {f"ktnet-shadow:{version('ktnet')}": "shadow", "ktnet": "client"}
        listed = ",".join(f"{name}={unpacked[which]}" for name, which in images.items())
        patch.setenv("KTNET_LAB_IMAGES", listed)
        with open_lab(f"images-{os.getpid()}", "--laptops", "2") as lab:
            yield lab


def test_the_shadow_adds_little_and_says_what_it_is(images: dict[str, BuiltImage]) -> None:
    image = images["shadow"]
    assert count_bytes(image.root / "opt") < 45 * MIB
    assert image.config["User"] == "65534:65534"
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["Entrypoint"] == ["python", "-m", "ktnet.shadow"]
    for image in images.values():
        labels = image.config["Labels"]
        assert labels["org.opencontainers.image.version"] == version("ktnet")
        assert {"title", "description", "licenses"} <= {
            label.removeprefix("org.opencontainers.image.") for label in labels
        }
    ours = {path.name for path in (images["shadow"].root / "opt/ktnet/ktnet").iterdir()}
    assert ours - {"__pycache__"} == {"__init__.py", "errors.py", "wire", "stream", "shadow"}


def test_the_shadow_is_listening_at_once(images: dict[str, BuiltImage]) -> None:
    """The quickest of a few starts, in its own root, as nobody: others use this machine too."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtQUDZWhs8k/cZcykMkaoX7ZE7DXld8TP79HyddVMTS"
    image = images["shadow"]
    environment = dict(each.split("=", 1) for each in image.config["Env"])
    command = [*image.config["Entrypoint"], "--authorized-key", key, "--port", "0"]
    taken_s = []
    for _ in range(5):
        start_s = time.monotonic()
        with subprocess.Popen(
            ["chroot", "--userspec=65534:65534", str(image.root), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        ) as shadow:
            assert shadow.stdout is not None
            said = []
            for line in shadow.stdout:
                said.append(line)
                if "ktnet-hostkey" in line:  # said when it listens
                    taken_s.append(time.monotonic() - start_s)
                    break
            shadow.terminate()
            shadow.communicate(timeout=10)
        assert taken_s, said
    assert min(taken_s) < 0.7, taken_s


def test_the_shadow_pod_is_the_image(
    lab: Lab,
    connection: Connection,  # noqa: F811
) -> None:
    """Its modules are those of /opt/ktnet, which only the built image has."""
    shadows = [
        path
        for path in Path("/proc").glob("[0-9]*/root")
        if (path / "opt/ktnet/ktnet/shadow").exists() and path.parent.name != "self"
    ]
    arguments = [(path.parent / "cmdline").read_text().split("\0") for path in shadows]
    assert any("ktnet.shadow" in words for words in arguments)


def in_container(lab: Lab, unpacked: Path, mode: str, *arguments: str) -> list[str]:
    """The command line of the client's container in the second laptop's network."""
    root, config = str((unpacked / "rootfs").resolve()), str(unpacked / "config.json")
    program = (sys.executable, str(HERE / "container.py"), root, config, mode)
    return lab.exec(*program, *arguments, laptop=2)


def test_the_client_with_net_admin_joins_all_containers_of_its_network(
    lab: Lab, unpacked: dict[str, Path]
) -> None:
    command = in_container(lab, unpacked["client"], "net-admin", "connect", "-n", "demo")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as c:
        wait_for(c, "ready")
        # A container beside it has the same network, and the resolver's file that is shared.
        assert visit(lab).get("status") == 200
        end_container(c)
        assert c.communicate(timeout=30)[1] == ""
        assert c.returncode == 0
    assert visit(lab).get("status") is None


def test_the_client_without_net_admin_says_what_is_missing_and_what_works(
    lab: Lab, unpacked: dict[str, Path]
) -> None:
    command = in_container(lab, unpacked["client"], "plain", "connect", "-n", "demo")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert "--cap-add NET_ADMIN --device /dev/net/tun" in done.stderr
    assert "--mode proxy" in done.stderr
    options = ("connect", "-n", "demo", "--mode", "proxy", "--listen", "1080")
    command = in_container(lab, unpacked["client"], "plain", *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as c:
        wait_for(c, "ready")
        curl = ("curl", "-sS", "--socks5-hostname", "127.0.0.1:1080", "http://tomcat/")
        said = lab.run(*curl, laptop=2)
        assert re.search(r'"hostname": "tomcat-', said)
        end_container(c)
        assert c.communicate(timeout=30)[1] == ""
        assert c.returncode == 0


def test_the_pod_of_the_page_joins_the_cluster_by_its_service_account(lab: Lab) -> None:
    """The runner's pod and the Role are those of the pages, as they stand there."""
    (pod,) = (each for each in read_yaml("containers.md") if each.get("kind") == "Pod")
    (role,) = (
        each for each in read_yaml("rights.md") if each["metadata"]["name"] == "ktnet-connect"
    )
    account = {"metadata": {"name": pod["spec"]["serviceAccountName"]}}
    binding = {
        "metadata": account["metadata"],
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "ktnet-connect",
        },
        "subjects": [{"kind": "ServiceAccount", "namespace": "demo", **account["metadata"]}],
    }
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/demo"
    core = "/api/v1/namespaces/demo"
    ask(lab, "POST", f"{core}/serviceaccounts", account)
    ask(lab, "POST", f"{rbac}/roles", role)
    ask(lab, "POST", f"{rbac}/rolebindings", binding)
    ask(lab, "POST", f"{core}/pods", json.loads(json.dumps(pod).replace("NAMESPACE", "demo")))
    name = pod["metadata"]["name"]
    deadline_s = time.monotonic() + 30
    while "ready" not in (said := read_log(lab, f"{core}/pods/{name}/log")):
        assert time.monotonic() < deadline_s, said
        time.sleep(0.2)
    # As a step of the job does it, in the pod.
    url = "http://web.demo.svc.cluster.local/"
    program = (
        "import urllib.request as r; proxy = r.ProxyHandler({'http': 'http://127.0.0.1:1080'}); "
        f"print(r.build_opener(proxy).open('{url}', timeout=10).status)"
    )
    command = (sys.executable, str(HERE / "pod_exec.py"), str(lab.directory / "kubeconfig"), name)
    assert lab.run(*command, "python", "-c", program) == "200\n"
    ask(lab, "DELETE", f"{core}/pods/{name}")


def read_yaml(page: str) -> list[dict[str, Any]]:
    """The objects that a page of the documentation shows."""
    text = (HERE.parents[1] / "docs" / page).read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return [found for block in blocks for found in yaml.safe_load_all(block)]


def read_log(lab: Lab, path: str) -> str:
    """Nothing as long as there is none."""
    try:
        return str(ask(lab, "GET", path))
    except OSError:
        return ""


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_shadows_wheels_exist_for_other_processors_too(tmp_path: Path, python: str) -> None:
    """As its Dockerfile asks for them, on a node with another processor."""
    other = "x86_64" if os.uname().machine == "aarch64" else "aarch64"
    platforms = [f"manylinux_2_{minor}_{other}" for minor in (17, 28, 34)]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--only-binary", ":all:", "--no-deps", "--require-hashes", "--dest", str(tmp_path)),
            *("--python-version", python, "--implementation", "cp"),
            *(word for each in platforms for word in ("--platform", each)),
            *("-r", str(HERE.parents[1] / "ktnet/shadow/requirements.txt")),
        ],
        check=True,
    )
    assert any(other in path.name for path in tmp_path.iterdir())


def visit(lab: Lab) -> dict[str, Any]:
    """A request from beside the container."""
    url = "http://tomcat.demo.svc.cluster.local/"
    return dict(json.loads(lab.run(sys.executable, "-m", "ktnet.lab.visit", url, laptop=2)))


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return
    assert process.stderr is not None
    raise AssertionError(f"{said} {process.stderr.read()}")


def end_container(process: subprocess.Popen[str]) -> None:
    """SIGTERM to its first process, as `docker stop` sends it."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), 15)
