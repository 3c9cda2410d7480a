"""Our connections to all pods of a router, each with our ports and our mark.

pods there are ─► a pod: host key ─► SSH ─► ports ─► mark ─► (attached) ─ broken ─► (wait)
                            ▲                                                         │
                            └─────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from ktnet.cluster.exchange.exposure import ExposedPort
from ktnet.cluster.portforward import open_forward
from ktnet.cluster.server.informer import run_informer
from ktnet.cluster.shadow.hostkey import read_host_key
from ktnet.cluster.shadow.verdict import RunningPod, find_end, judge_pod, uid_of
from ktnet.errors import Conflict, KtnetError, ShadowFailed
from ktnet.link.backoff import Backoff
from ktnet.link.connection import open_link
from ktnet.link.keys import new_client_key
from ktnet.session.cluster import Cluster
from ktnet.stream.ledger import Ledger
from ktnet.tasks import open_tasks
from ktnet.wire.meshmark import Registration
from ktnet.wire.meshrecord import build_selector
from ktnet.wire.shadow import SSH_PORT

log = logging.getLogger(__name__)

Json = dict[str, Any]

_DIAL_TIMEOUT_S = 10.0


class Attachments:
    """One a pod."""

    def __init__(
        self,
        cluster: Cluster,
        router: str,
        registration: Registration,
        ports: tuple[ExposedPort, ...],
        ledger: Ledger,
        streams: asyncio.TaskGroup,
        links: asyncio.TaskGroup,
    ) -> None:
        self.router = router
        self._cluster = cluster
        self._registration = registration
        self._ports = ports
        self._ledger = ledger
        self._streams = streams
        self._links = links
        self._key, _ = new_client_key()
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._names: dict[str, str] = {}
        self._attached: set[str] = set()
        self._failure: KtnetError | None = None
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()

    # -- the router's pods (a `ktnet.cluster.server.informer.Mirror`) ---------

    async def run_watch(self) -> None:
        """Attach to every pod that there is and will be, until cancelled."""
        await run_informer(
            self._cluster.api,
            "pods",
            "",
            self,
            namespace=self._cluster.namespace,
            labels=build_selector(self.router),
        )

    def replace(self, objects: list[Json]) -> None:
        """All pods that there are."""
        there = {uid_of(pod) for pod in objects}
        for uid in [*self._keeping]:
            if uid not in there:
                self._let_go(uid)
        for pod in objects:
            self.change("ADDED", pod)

    def change(self, kind: str, obj: Json) -> None:
        """One of them."""
        uid = uid_of(obj)
        if kind == "DELETED":
            self._let_go(uid)
        elif uid not in self._keeping and not find_end(obj) and not self._leaving.is_set():
            try:
                pod = judge_pod(obj)
            except KtnetError as error:
                self._fail(error)
            else:
                if isinstance(pod, RunningPod):
                    self._names[uid] = pod.name
                    self._keeping[uid] = self._links.create_task(self._keep(pod), name=pod.name)

    def _let_go(self, uid: str) -> None:
        task = self._keeping.pop(uid, None)
        if task is not None:
            task.cancel()
        self._names.pop(uid, None)

    # -- what is asked of it ---------------------------------------------------------------------

    @property
    def pods(self) -> dict[str, bool]:
        """Whether we are attached, by each pod's name."""
        return {name: uid in self._attached for uid, name in sorted(self._names.items())}

    async def wait_attached(self, at_least: int, timeout_s: float) -> None:
        """Until we are attached to every pod that runs, and so many. Raises what keeps us from it,
        ShadowFailed where that takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._attached) < at_least or not all(self.pods.values()):
                    if self._failure is not None and not self._attached:
                        raise self._failure
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ShadowFailed(
                f"not attached to {at_least} pods of the router {self.router} within "
                f"{timeout_s:g} s",
                hint=f"kubectl describe deployment/{self.router} says more; --timeout waits longer",
            ) from None

    async def leave(self) -> None:
        """Want no more requests; returns when those under way are answered."""
        self._leaving.set()
        if self._keeping:
            await asyncio.wait(self._keeping.values())

    # -- one pod ---------------------------------------------------------------------------------

    async def _keep(self, pod: RunningPod) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        while not self._leaving.is_set():
            delay_s = backoff.next_delay_s(random.random())  # noqa: S311 - no secret
            if delay_s and await self._is_leaving_within(delay_s):
                return
            try:
                await self._attach(pod, lambda: backoff.connected(loop.time()))
            except (Conflict, ShadowFailed) as error:
                self._fail(error)
            except KtnetError as error:
                log.info("not attached to %s: %s", pod.name, error)
            finally:
                self._attached.discard(pod.uid)
            backoff.broke(loop.time())

    async def _attach(self, pod: RunningPod, connected: Any) -> None:
        """Until the connection is lost, or we leave. Raises what goes wrong."""
        api, namespace = self._cluster.api, self._cluster.namespace
        running, host_key = await read_host_key(api, namespace, pod, _DIAL_TIMEOUT_S)
        connector = partial(self._dial, running)
        async with AsyncExitStack() as parts:
            link = await parts.enter_async_context(
                open_link(
                    connector, client_key=self._key, host_key=host_key, timeout_s=_DIAL_TIMEOUT_S
                )
            )
            for port in self._ports:
                await parts.enter_async_context(
                    link.listen(port.remote, (port.host, port.local), self._ledger)
                )
            await parts.enter_async_context(link.register(self._registration))
            connected()
            self._attached.add(pod.uid)
            self._changed.set()
            async with open_tasks() as tasks:
                lost = tasks.create_task(link.wait_closed())
                leaving = tasks.create_task(self._leaving.wait())
                await asyncio.wait({lost, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if lost.done():
                    log.info("attachment to %s: %s", pod.name, lost.result().message)

    async def _dial(
        self, pod: RunningPod, build: Any
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        return await open_forward(
            self._cluster.api, self._cluster.namespace, pod.name, SSH_PORT, build, self._streams
        )

    async def _is_leaving_within(self, delay_s: float) -> bool:
        try:
            async with asyncio.timeout(delay_s):
                await self._leaving.wait()
        except TimeoutError:
            return False
        return True

    def _fail(self, error: KtnetError) -> None:
        self._failure = error
        self._changed.set()
        log.info("router %s: %s", self.router, error)


@asynccontextmanager
async def open_attachments(
    cluster: Cluster,
    router: str,
    registration: Registration,
    ports: tuple[ExposedPort, ...],
    ledger: Ledger,
) -> AsyncIterator[Attachments]:
    """Attach to all pods of the router, whatever becomes of them, until the context is left."""
    async with open_tasks() as streams, open_tasks() as links:
        attachments = Attachments(cluster, router, registration, ports, ledger, streams, links)
        links.create_task(attachments.run_watch(), name=f"watch the pods of {router}")
        yield attachments
