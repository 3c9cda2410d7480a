"""The node's agent: runs the pods that are bound to the node, and lets the API server into them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ktnet.lab.api.accounts import AUDIENCE, Accounts
from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.store import Store
from ktnet.lab.node.addresses import PodAddresses
from ktnet.lab.node.direct import DirectPaths
from ktnet.lab.node.exec import ContainerExec, start_exec
from ktnet.lab.node.images import list_images
from ktnet.lab.node.laptop import Laptop
from ktnet.lab.node.log import ContainerLog
from ktnet.lab.node.network import open_shared_links
from ktnet.lab.node.pod import Node, PodWorker
from ktnet.lab.node.refusal import Refusal
from ktnet.lab.node.spawner import Spawner
from ktnet.lab.node.syscalls import MS_NODEV, MS_NOSUID, mount, unmount
from ktnet.lab.node.unpacked import list_unpacked_images
from ktnet.lab.topology import NODE_NAME

Obj = dict[str, Any]

FINISHED = ("Succeeded", "Failed")


class Kubelet:
    """The pods that run here; `run_kubelet` keeps them, the API server asks about them."""

    def __init__(
        self,
        store: Store,
        spawner: Spawner,
        accounts: Accounts,
        laptops: Sequence[Laptop] = (),
    ) -> None:
        """`accounts` issues the pods' tokens."""
        self.images = list_images() | list_unpacked_images()
        self._store = store
        self._accounts = accounts
        self._spawner = spawner
        self._laptops = laptops
        self._workers: dict[str, PodWorker] = {}
        """By uid: a pod may end while its successor of the same name starts."""

    async def connect(self, namespace: str, pod: str, port: int) -> socket.socket:
        """A non-blocking socket, connected to 127.0.0.1:port inside the pod's network.

        Raises ConnectionRefusedError where nothing listens (other OSErrors are possible),
        LookupError where the pod has no network (not started, or over).
        """
        sandbox = self._find(namespace, pod).sandbox
        if sandbox is None:
            raise LookupError(f"pod {namespace}/{pod} has no network")
        return await sandbox.connect(port)

    def log(
        self, namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> ContainerLog:
        """The log of the current or the previous run; LookupError where there was none."""
        found = self._find(namespace, pod).containers[container]
        log = found.previous_log if previous else found.log
        if log is None:
            raise LookupError(f"container {container} of pod {namespace}/{pod} has no such log")
        return log

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: list[str],
        *,
        stdin: bool,
        tty: bool,
    ) -> ContainerExec:
        """Starts a process in a running container; it is killed when its caller is cancelled.

        Raises LookupError where the container does not run, OSError (FileNotFoundError,
        PermissionError) where the command can't be started.
        """
        found = self._find(namespace, pod).containers[container]
        return await start_exec(found, command, stdin=stdin, tty=tty)

    @contextlib.asynccontextmanager
    async def open_node(self) -> AsyncIterator[Node]:
        """What the pods share, while there are pods."""
        directory = self._spawner.directory / "volumes"
        directory.mkdir(mode=0o700, exist_ok=True)
        mount("volumes", str(directory), "tmpfs", MS_NODEV | MS_NOSUID, "mode=755")
        try:
            async with open_shared_links() as links:
                yield Node(
                    links=links,
                    spawner=self._spawner,
                    addresses=PodAddresses(),
                    images=self.images,
                    directory=directory,
                    direct=DirectPaths(self._laptops),
                    find=self._get,
                    issue_token=self._issue_token,
                    list_services=self._list_services,
                    read=self._read,
                    write_status=self._write_status,
                    remove=self._remove,
                )
        finally:
            unmount(str(directory))

    def handle(self, kind: str, pod: Obj, node: Node, tasks: asyncio.TaskGroup) -> None:
        """One event of a watch of all pods."""
        if pod["spec"].get("nodeName") != NODE_NAME:
            return
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if kind == "DELETED":
            if worker is not None:
                worker.vanish()
        elif worker is not None:
            worker.update(pod)
        elif (pod.get("status") or {}).get("phase") not in FINISHED:
            worker = self._workers[uid] = PodWorker(pod, node)
            tasks.create_task(self._keep(worker, uid))
            worker.update(pod)

    async def _keep(self, worker: PodWorker, uid: str) -> None:
        try:
            await worker.run()
        finally:
            del self._workers[uid]

    def _find(self, namespace: str, name: str) -> PodWorker:
        """The newest pod of that name; LookupError where none is here."""
        for worker in reversed(self._workers.values()):
            meta = worker.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, name):
                return worker
        raise LookupError(f"pod {namespace}/{name} is not on this node")

    def _get(self, plural: str, namespace: str, name: str) -> Obj | None:
        try:
            return self._store.get(plural, namespace, name)
        except ApiError:
            return None

    def _issue_token(self, pod: Obj, audiences: list[str], lifetime_s: int) -> str:
        namespace, name = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        account = self._get("serviceaccounts", namespace, name)
        if account is None:
            raise Refusal(
                "FailedMount",
                f'failed to fetch token: serviceaccounts "{name}" not found',
            )
        return self._accounts.issue(account, audiences or [AUDIENCE], lifetime_s, pod)

    def _list_services(self, namespace: str) -> list[Obj]:
        """Those that pods of a namespace know by variables: its own, and the API server's."""
        api = self._get("services", "default", "kubernetes")
        own = self._store.list("services", namespace)
        return own if api is None or api in own else [api, *own]

    def _read(self, pod: Obj) -> Obj | None:
        meta = pod["metadata"]
        current = self._get("pods", meta["namespace"], meta["name"])
        if current is None or current["metadata"]["uid"] != meta["uid"]:
            return None
        return current

    def _write_status(self, pod: Obj, status: Obj) -> None:
        meta = pod["metadata"]
        self._store.update(
            "pods",
            meta["namespace"],
            meta["name"],
            {**pod, "status": status},
            subresource="status",
        )

    def _remove(self, pod: Obj) -> None:
        meta = pod["metadata"]
        # A pod that was deleted by force is gone already.
        with contextlib.suppress(ApiError):
            self._store.delete("pods", meta["namespace"], meta["name"], grace_s=0, uid=meta["uid"])


async def run_kubelet(store: Store, kubelet: Kubelet) -> None:
    """Gives every pod that is bound to the node a worker, until cancelled."""
    async with kubelet.open_node() as node, asyncio.TaskGroup() as tasks:
        with store.watch("pods") as events:
            async for kind, pod in events:
                kubelet.handle(kind, pod, node, tasks)
