"""The life of one pod on this node, from its binding to its removal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pyroute2 import AsyncIPRoute

from ktnet.errors import HostNetworkError
from ktnet.lab.node.addresses import AddressesExhausted, PodAddresses
from ktnet.lab.node.container import Container, Plan
from ktnet.lab.node.direct import DirectPaths
from ktnet.lab.node.environment import Find, build_environment, hostname_of
from ktnet.lab.node.identity import build_identity
from ktnet.lab.node.images import Image
from ktnet.lab.node.process import build_container_launch
from ktnet.lab.node.refusal import PodRejected, Refusal
from ktnet.lab.node.sandbox import SAFE_SYSCTLS, Sandbox, open_sandbox
from ktnet.lab.node.spawner import Spawner
from ktnet.lab.node.status import (
    PodFacts,
    build_pod_status,
    build_rejected_status,
    format_time,
)
from ktnet.lab.node.tokens import IssueToken
from ktnet.lab.node.volumes import Volumes

Obj = dict[str, Any]
log = logging.getLogger(__name__)

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")

LEAST_GRACE_S = 1.0
"""A kubelet gives this much even to a pod that was deleted without grace."""

RENEW_RETRY_S = 10.0
"""Until a token that could not be renewed is asked for again."""

RETRY_S = 2.0
"""Until a sandbox or a volume that could not be made is tried again."""


@dataclass(frozen=True)
class Node:
    """What all pods of the node share."""

    links: AsyncIPRoute
    spawner: Spawner
    addresses: PodAddresses
    images: dict[str, Image]
    directory: Path
    """Of all volumes; in memory."""
    direct: DirectPaths
    find: Find
    issue_token: IssueToken
    list_services: Callable[[str], list[Obj]]
    read: Callable[[Obj], Obj | None]
    """The API server's newest object of this pod; None where it is gone."""
    write_status: Callable[[Obj, Obj], None]
    """Of an object that was just read."""
    remove: Callable[[Obj], None]


class PodWorker:
    """One pod; `run` goes through its whole life, `update` brings its newest object.

    What it knows goes into its status whenever it changes.
    """

    def __init__(self, pod: Obj, node: Node) -> None:
        self.pod = pod
        self.sandbox: Sandbox | None = None
        self._node = node
        self._facts = PodFacts(start_time=format_time(time.time_ns()))
        self._rejected = False
        self._ordered_to_end = asyncio.Event()
        self._deadline = asyncio.Event()
        self._deadline_timer: asyncio.TimerHandle | None = None
        meta = pod["metadata"]
        name = f"{meta['name']}_{meta['namespace']}({meta['uid']})"
        self.containers = {
            spec["name"]: Container(
                spec,
                pod_name=name,
                restart_policy=pod["spec"].get("restartPolicy", "Always"),
                grace_s=float(pod["spec"].get("terminationGracePeriodSeconds", 30)),
                images=node.images,
                spawner=node.spawner,
                plan=self._plan,
                changed=self._sync,
            )
            for spec in pod["spec"]["containers"]
        }
        self._facts.containers = [each.facts for each in self.containers.values()]
        self._volumes = Volumes(node.directory / meta["uid"])
        self._tokens_last_s: float | None = None

    def update(self, pod: Obj) -> None:
        """The object has changed: perhaps it is to be deleted now, or sooner than before."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._end_within(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))

    def vanish(self) -> None:
        """The object is gone already: deleted by force."""
        self._end_within(0.0)

    async def run(self) -> None:
        """Until the pod's object is gone, or nobody is left to tell."""
        try:
            check_pod(self.pod)
        except PodRejected as rejected:
            self._reject(rejected)
        else:
            await self._run_accepted()
        await self._ordered_to_end.wait()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._node.remove(self.pod)

    async def _run_accepted(self) -> None:
        self._sync()
        try:
            async with self._open_sandbox() as sandbox:
                if sandbox is not None:
                    await self._run_containers(sandbox)
        finally:
            self._volumes.remove()
        for container in self.containers.values():
            container.abandon()
        self._facts.sandbox_ready = False
        self._sync()

    @contextlib.asynccontextmanager
    async def _open_sandbox(self) -> AsyncIterator[Sandbox | None]:
        """Sandbox and volumes, tried until they can be made; None where the pod is to end first."""
        while not self._ordered_to_end.is_set():
            try:
                address = self._node.addresses.take()
            except AddressesExhausted as error:
                self._complain(error)
                await self._pause()
                continue
            async with contextlib.AsyncExitStack() as stack:
                stack.callback(self._node.addresses.give_back, address)
                try:
                    sandbox = await stack.enter_async_context(self._make_sandbox(address))
                    self._volumes.fill(self.pod, self._node.find)
                    self._write_tokens()
                except (Refusal, HostNetworkError, OSError) as error:
                    self._complain(error)
                    await self._pause()
                    continue
                yield sandbox
                return
        yield None

    def _make_sandbox(
        self, address: IPv4Address
    ) -> contextlib.AbstractAsyncContextManager[Sandbox]:
        context = self.pod["spec"].get("securityContext") or {}
        sysctls = {each["name"]: each["value"] for each in context.get("sysctls") or ()}
        return open_sandbox(self._node.links, hostname_of(self.pod), address, sysctls)

    async def _run_containers(self, sandbox: Sandbox) -> None:
        self._facts.sandbox_ready = True
        self._facts.address = sandbox.address
        self.sandbox = sandbox
        self._sync()
        try:
            direct = self._node.direct.opened(self.pod, sandbox.address)
            async with direct, asyncio.TaskGroup() as tasks:
                ending = tasks.create_task(self._end_when_ordered())
                renewing = tasks.create_task(self._renew_tokens())
                async with asyncio.TaskGroup() as running:
                    for container in self.containers.values():
                        running.create_task(container.run(sandbox))
                ending.cancel()
                renewing.cancel()
        finally:
            self.sandbox = None

    async def _renew_tokens(self) -> None:
        """Goes on while the pod runs; the account may be gone for a while, or for good."""
        while self._tokens_last_s is not None:
            await asyncio.sleep(self._tokens_last_s)
            try:
                self._write_tokens()
            except Refusal as error:
                self._complain(error)
                self._tokens_last_s = RENEW_RETRY_S

    def _write_tokens(self) -> None:
        self._tokens_last_s = self._volumes.write_tokens(self.pod, self._node.issue_token)

    async def _end_when_ordered(self) -> None:
        """SIGTERM with the order, SIGKILL when the grace is over."""
        await self._ordered_to_end.wait()
        for container in self.containers.values():
            container.stop()
        await self._deadline.wait()
        for container in self.containers.values():
            container.kill()

    def _end_within(self, grace_s: float) -> None:
        """The order to end; a later one may shorten the grace, never lengthen it."""
        loop = asyncio.get_running_loop()
        at_s = loop.time() + max(grace_s, LEAST_GRACE_S)
        if self._deadline_timer is None or at_s < self._deadline_timer.when():
            if self._deadline_timer is not None:
                self._deadline_timer.cancel()
            self._deadline_timer = loop.call_at(at_s, self._deadline.set)
        self._ordered_to_end.set()
        self._sync()

    def _plan(self, spec: Obj, image: Image) -> Plan:
        """What starting a container takes; raises Refusal."""
        assert self.sandbox is not None  # noqa: S101 -- containers run inside it
        pod = self._pod_as_it_sees_itself(self.sandbox.address)
        identity = build_identity(pod, spec, image)
        services = self._node.list_services(pod["metadata"]["namespace"])
        if pod["spec"].get("enableServiceLinks") is False:
            services = [each for each in services if each["metadata"]["name"] == "kubernetes"]
        variables = build_environment(pod, spec, image, services, self._node.find)
        termination_file = self._volumes.make_termination_file(spec["name"])
        launch = build_container_launch(
            pod,
            spec,
            image,
            identity=identity,
            variables=variables,
            address=self.sandbox.address,
            mounts=self._volumes.list_mounts(pod, spec),
            termination_file=termination_file,
        )
        return Plan(launch, termination_file)

    def _pod_as_it_sees_itself(self, address: IPv4Address) -> Obj:
        """With its addresses, which the API server learns only when a container runs."""
        addresses = {"podIP": str(address), "podIPs": [{"ip": str(address)}]}
        return {**self.pod, "status": {**(self.pod.get("status") or {}), **addresses}}

    def _sync(self) -> None:
        """Writes the status where it differs from what the API server has."""
        current = self._node.read(self.pod)
        if current is None or self._rejected:
            return
        status = build_pod_status(current, self._facts, format_time(time.time_ns()))
        self._node.write_status(current, status)

    def _reject(self, rejected: PodRejected) -> None:
        self._rejected = True
        now = format_time(time.time_ns())
        status = build_rejected_status(self.pod, rejected.reason, rejected.message, now)
        self._node.write_status(self.pod, status)

    def _complain(self, error: Exception) -> None:
        meta = self.pod["metadata"]
        log.warning("pod %s/%s: %s", meta["namespace"], meta["name"], error)

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await self._ordered_to_end.wait()


def check_pod(pod: Obj) -> None:
    """Raises PodRejected for what this node does not run."""
    spec = pod["spec"]
    for each in (spec.get("securityContext") or {}).get("sysctls") or ():
        if each["name"] not in SAFE_SYSCTLS:
            raise PodRejected(
                "SysctlForbidden", f'forbidden sysctl: "{each["name"]}" not allowlisted'
            )
    for key in ("hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"):
        if spec.get(key):
            raise PodRejected("UnsupportedByLab", f"the lab's kubelet does not run {key}")
    for container in spec["containers"]:
        if "postStart" in (container.get("lifecycle") or {}):
            raise PodRejected("UnsupportedByLab", "the lab's kubelet does not run postStart hooks")
        if any("grpc" in (container.get(name) or {}) for name in PROBES):
            raise PodRejected("UnsupportedByLab", "the lab's kubelet does not ask by gRPC")
