"""A lab's node without the rest of a lab: store, network, kubelet and one laptop.

It lives in namespaces of a child process and is gone with it. A test is an async function with
`@on_node`; it runs in there, and its failed assertion is the test's.
"""

import asyncio
import contextlib
import importlib
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from ktnet.lab.api.accounts import Accounts
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.store import Store
from ktnet.lab.node.kubelet import Kubelet, run_kubelet
from ktnet.lab.node.laptop import Laptop, open_laptop
from ktnet.lab.node.network import build_node_network
from ktnet.lab.node.spawner import open_spawner

Obj = dict[str, Any]
LIMIT_S = 60.0
NAMESPACE = "demo"
LAPTOP_ADDRESS = IPv4Address("192.168.64.10")
PYTHON = "lab/python:1"


def on_node(check: Callable[["NodeScene"], Awaitable[None]]) -> Callable[[], None]:
    """Makes a test of an async function that wants a NodeScene."""

    def test() -> None:
        here = Path(__file__).parent
        program = (
            f"import sys; sys.path.insert(0, {str(here)!r}); import node_scene; "
            f"node_scene.main({check.__module__!r}, {check.__name__!r})"
        )
        done = subprocess.run(
            [
                *("unshare", "--net", "--mount", "--propagation", "private"),
                *(sys.executable, "-W", "error", "-X", "dev", "-c", program),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0, done.stderr

    test.__name__ = check.__name__
    test.check = check  # type: ignore[attr-defined]
    return test


def main(module: str, name: str) -> None:
    """What the child process does."""
    check = getattr(importlib.import_module(module), name).check

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="ktnet-node-") as directory:
            async with open_scene(Path(directory)) as scene:
                await check(scene)

    asyncio.run(run())


@contextlib.asynccontextmanager
async def open_scene(directory: Path) -> AsyncIterator["NodeScene"]:
    store = Store()
    for plural, namespace, kind, name in (
        ("namespaces", None, "Namespace", NAMESPACE),
        ("serviceaccounts", NAMESPACE, "ServiceAccount", "default"),
    ):
        obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
        store.create(plural, namespace, obj)
    await build_node_network()
    async with (
        open_spawner(directory) as spawner,
        open_laptop(spawner, "laptop-1", LAPTOP_ADDRESS, directory) as laptop,
    ):
        accounts = Accounts(store, lambda: datetime.now(UTC))
        kubelet = Kubelet(store, spawner, accounts, [laptop])
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(run_kubelet(store, kubelet))
            yield NodeScene(store, kubelet, laptop)
            running.cancel()


class NodeScene:
    """What a test does to a node."""

    def __init__(self, store: Store, kubelet: Kubelet, laptop: Laptop) -> None:
        self.store = store
        self.kubelet = kubelet
        self.laptop = laptop

    def create(
        self, name: str, container: Obj, *, labels: dict[str, str] | None = None, **spec: Any
    ) -> Obj:
        """A pod that is bound to the node already."""
        whole = {
            "nodeName": "lab-node",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": PYTHON, **container}],
            **spec,
        }
        meta = {"name": name, "labels": labels or {}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": whole}
        return self.store.create("pods", NAMESPACE, pod)

    async def run(self, script: str, *, name: str = "run", **options: Any) -> str:
        """The whole output of a pod that runs a Python script once."""
        container = {"command": ["python", "-c", script], **options.pop("container", {})}
        self.create(name, container, restartPolicy="Never", **options)
        await self.wait_until(name, lambda pod: pod["status"]["phase"] in {"Succeeded", "Failed"})
        return self.read_log(name)

    def read_log(self, name: str, *, previous: bool = False) -> str:
        lines = self.kubelet.log(NAMESPACE, name, "main", previous=previous).lines
        return b"".join(line for _, line in lines).decode()

    def get(self, name: str) -> Obj:
        return self.store.get("pods", NAMESPACE, name)

    def delete(self, name: str, grace_s: int | None = None) -> None:
        self.store.delete("pods", NAMESPACE, name, grace_s=grace_s)

    async def start(self, name: str, container: Obj, **options: Any) -> Obj:
        """A pod that is ready."""
        self.create(name, container, **options)
        return await self.wait_until(name, is_ready)

    async def wait_until(self, name: str, holds: Callable[[Obj], bool]) -> Obj:
        """The pod as soon as that holds of it."""
        async with asyncio.timeout(LIMIT_S / 2):
            with self.store.watch("pods") as events:
                async for _, pod in events:
                    if pod["metadata"]["name"] == name and holds(pod):
                        return pod
        raise AssertionError("a watch never ends")

    async def wait_until_gone(self, name: str) -> Obj:
        """Its last state."""
        async with asyncio.timeout(LIMIT_S / 2):
            with self.store.watch("pods") as events:
                self.get(name)
                async for kind, pod in events:
                    if pod["metadata"]["name"] == name and kind == "DELETED":
                        return pod
        raise AssertionError("a watch never ends")

    async def execute(self, name: str, *command: str, given: bytes = b"", tty: bool = False) -> str:
        """Output and errors of a command that runs in a pod and exits with 0."""
        process = await self.kubelet.exec(
            NAMESPACE, name, "main", list(command), stdin=True, tty=tty
        )
        await process.write(given)
        await process.close_stdin()
        output = b""
        while data := await process.read_stdout():
            output += data
        while data := await process.read_stderr():
            output += data
        assert await process.wait() == 0, output
        return output.decode()

    def exists(self, name: str) -> bool:
        try:
            self.get(name)
        except ApiError:
            return False
        return True


def listening(port: int) -> Obj:
    """A readiness probe: something listens there."""
    return {"tcpSocket": {"port": port}, "periodSeconds": 1}


def is_ready(pod: Obj) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True"
        for each in pod["status"].get("conditions", ())
    )


def state_of(pod: Obj) -> Obj:
    """The state of the only container."""
    (status,) = pod["status"].get("containerStatuses") or [{}]
    return dict(status.get("state", {}))


def waits_for(reason: str) -> Callable[[Obj], bool]:
    return lambda pod: state_of(pod).get("waiting", {}).get("reason") == reason
