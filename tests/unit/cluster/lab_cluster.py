"""The lab's API server and controllers on loopback, with a kubelet that runs no processes."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from forward_peer import target_of

from ktnet.cluster.server.api import Api, open_api
from ktnet.lab.api.authentication import User
from ktnet.lab.api.authorization import Attributes
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.metadata import utc_now
from ktnet.lab.api.rbac.authorizer import Rbac
from ktnet.lab.api.server import ApiServer, open_api_server
from ktnet.lab.api.store import Store
from ktnet.lab.api.tls import build_certificates
from ktnet.lab.controllers.garbage import GarbageCollector
from ktnet.lab.controllers.job import JobController
from ktnet.lab.controllers.loop import run_controller
from ktnet.lab.controllers.scheduler import Scheduler
from ktnet.tasks import open_tasks
from ktnet.wire.shadow import build_host_key_line

HOST_KEY = (
    "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode()
)
TOKEN = "a-token"


class Log:
    """The output of a container."""

    def __init__(self, text: str) -> None:
        self.lines = [(0, line.encode() + b"\n") for line in text.splitlines()]

    async def follow(self):
        return
        yield


@dataclass
class Kubelet:
    """Says what a test wants about its pods; ports of all of them are local ones."""

    store: Store
    state: dict = field(default_factory=lambda: {"running": {"startedAt": "2026-11-23T08:00:00Z"}})
    container_id: str = "containerd://1"
    pod_ip: str = "10.244.0.9"
    log_text: str = build_host_key_line(HOST_KEY)
    ports: dict[int, int] = field(default_factory=dict)

    async def run(self) -> None:
        with self.store.watch("pods") as events:
            async for kind, pod in events:
                metadata = pod["metadata"]
                metadata["namespace"], metadata["name"]
                if kind != "DELETED" and "deletionTimestamp" in metadata:
                    with suppress(ApiError):
                        self.store.delete(
                            "pods", metadata["namespace"], metadata["name"], grace_s=0
                        )
                elif pod["spec"].get("nodeName") and not pod["status"].get("containerStatuses"):
                    self.report(pod)

    def report(self, pod) -> None:
        running = "running" in self.state
        status = {
            "name": "shadow",
            "image": pod["spec"]["containers"][0]["image"],
            "imageID": "",
            "ready": running,
            "restartCount": 0,
            "state": self.state,
            "containerID": self.container_id,
        }
        self.store.patch(
            "pods",
            pod["metadata"]["namespace"],
            pod["metadata"]["name"],
            {
                "status": {
                    "phase": "Running" if running else "Pending",
                    "podIP": self.pod_ip,
                    "podIPs": [{"ip": self.pod_ip}],
                    "startTime": "2026-11-23T08:00:00Z",
                    "containerStatuses": [status],
                }
            },
            subresource="status",
        )

    async def connect(self, namespace: str, pod: str, port: int) -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        address = ("127.0.0.1", self.ports.get(port, 1))
        try:
            await asyncio.get_running_loop().sock_connect(connection, address)
        except OSError:
            connection.close()
            raise
        return connection

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Log:
        if previous:
            raise LookupError(container)
        return Log(self.log_text)

    async def exec(self, *args, **kwargs):
        raise LookupError


@dataclass
class Cluster:
    """The lab, and what a test may do to it."""

    store: Store
    kubelet: Kubelet
    server: ApiServer
    api: Api
    tokens: dict[str, User]
    denied: set[tuple[str, str]]
    """(verb, "resource" or "resource/subresource") that nobody may."""
    asked: asyncio.Event
    """Set by each request."""
    wanted: set[Attributes]
    """What has been asked for, whether it was allowed or not."""

    async def until_asked(self, count: int) -> None:
        """Wait until there have been so many requests."""
        while len(self.server.requests) < count:
            self.asked.clear()
            await self.asked.wait()

    def objects(self) -> list[str]:
        """What there is of sessions."""
        return [
            f"{plural}/{obj['metadata']['name']}"
            for plural in ("jobs", "leases", "pods")
            for obj in self.store.list(plural)
        ]


@asynccontextmanager
async def open_cluster(*, nodes: int = 1) -> AsyncIterator[Cluster]:
    """A cluster with namespace `demo`; its user may do everything that is not in `denied`."""
    store = Store()
    for name in ("default", "demo"):
        store.create("namespaces", None, {"metadata": {"name": name}})
        store.create("serviceaccounts", name, {"metadata": {"name": "default"}})
    for number in range(nodes):
        node = {"metadata": {"name": f"node-{number}"}, "spec": {"podCIDRs": ["10.244.0.0/24"]}}
        store.create("nodes", None, node)
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        store.patch("nodes", None, f"node-{number}", {"status": status}, subresource="status")
    kubelet, denied, asked, seen = Kubelet(store), set(), asyncio.Event(), set()
    tokens = {TOKEN: User("dev", ("system:masters",))}
    certificates, rbac = build_certificates(["127.0.0.1"]), Rbac(store)

    def authorize(user, wanted):
        asked.set()
        seen.add(wanted)
        resource = f"{wanted.resource}/{wanted.subresource}".rstrip("/")
        return (wanted.verb, resource) not in denied and rbac(user, wanted)

    async with (
        open_tasks() as tasks,
        open_api_server(
            store,
            kubelet,
            address="127.0.0.1",
            port=0,
            certificates=certificates,
            tokens=tokens,
            authorize=authorize,
        ) as server,
    ):
        for controller in (
            JobController(store, utc_now),
            GarbageCollector(store),
            Scheduler(store, utc_now),
        ):
            tasks.create_task(run_controller(store, controller))
        tasks.create_task(kubelet.run())
        target = target_of(server.url, TOKEN, ca_pem=certificates.ca_pem)
        async with open_api(target) as api:
            yield Cluster(store, kubelet, server, api, tokens, denied, asked, seen)


@asynccontextmanager
async def open_limited_api(cluster: Cluster, rules, cluster_rules=()) -> AsyncIterator[Api]:
    """An Api as somebody with these rules in `demo` and, by a ClusterRole, in all namespaces."""
    name = f"limited-{len(cluster.tokens)}"
    cluster.tokens[name] = User(name, ())
    for kind, namespace, given in (("Role", "demo", rules), ("ClusterRole", None, cluster_rules)):
        plural = kind.lower()
        cluster.store.create(
            f"{plural}s", namespace, {"metadata": {"name": name}, "rules": list(given)}
        )
        binding = {
            "metadata": {"name": name},
            "roleRef": {"kind": kind, "name": name},
            "subjects": [{"kind": "User", "name": name}],
        }
        cluster.store.create(f"{plural}bindings", namespace, binding)
    target = target_of(cluster.server.url, name, ca_pem=cluster.server.certificates.ca_pem)
    async with open_api(target) as api:
        yield api
