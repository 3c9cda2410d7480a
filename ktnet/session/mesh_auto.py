"""One's own requests to a Service, by a router in front of it that all who want some share.

join ─► (meshed) ─► somebody wants it to end ─► leave
 ▲          │
 │     taken out ─ this machine was there ─► that is the end
 └────── it slept, or its network was away
"""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

from ktnet.cluster.exchange.exposure import resolve_exposures
from ktnet.cluster.exchange.taking import check_selectable
from ktnet.cluster.exchange.workload import find_original_selector
from ktnet.cluster.mesh.router_manifests import plan_ports
from ktnet.cluster.rights import list_for_router
from ktnet.cluster.server.review import require_rights
from ktnet.errors import ClusterUnreachable, Conflict, KtnetError, UsageError
from ktnet.session.cluster import Cluster, open_cluster
from ktnet.session.exchange_plan import find_service, read_pod_spec
from ktnet.session.inbound import Exposed
from ktnet.session.leftovers import tidy
from ktnet.session.mesh import MeshOptions
from ktnet.session.mesh_member import Member, MeshPlan, TakenOut
from ktnet.session.patience import RETRY_INTERVAL_S
from ktnet.session.report import Report
from ktnet.session.running import Running
from ktnet.stream.ledger import Ledger
from ktnet.tasks import open_tasks
from ktnet.wire.record import parse_record as parse_exchange


class MeshAutoSession:
    """A member of a Service's mesh, who joins anew where it was taken for gone."""

    def __init__(self, cluster: Cluster, plan: MeshPlan, report: Report) -> None:
        self._cluster = cluster
        self._plan = plan
        self._report = report
        self._name = _new_name(plan.service.name)
        self.ledger = Ledger()
        self._member = Member(cluster, plan, self._name, report, self.ledger)
        self._exposed = [Exposed(port) for port in plan.ports]
        self._joined = asyncio.Event()
        self._ending = asyncio.Event()
        self._failure: asyncio.Future[KtnetError] = asyncio.get_running_loop().create_future()

    @property
    def mark(self) -> str:
        """As the header field says it."""
        return f"{self._plan.options.key}: {self._plan.options.value}"

    def describe_mark(self) -> str:
        """Whose requests come here."""
        return f"requests to {self._plan.service.title} with `{self.mark}` come here"

    # -- one membership after the other ----------------------------------------------------------

    async def run(self) -> None:
        """Join, and again where need be, until `end`. Raises what keeps it from joining at first;
        what happens later is told to `watch`."""
        await self._live_once(lambda: None)
        while not self._ending.is_set():
            try:
                await self._come_back()
            except ClusterUnreachable:
                # As long as it takes: the network, too, comes back when it likes.
                await asyncio.sleep(RETRY_INTERVAL_S)
            except KtnetError as error:
                self._fail(error)
                return

    async def _live_once(self, on_joined: Callable[[], None]) -> None:
        """Until `end`, or until this machine was taken for gone. Raises what keeps it from joining;
        what ends it later is told to `watch`."""
        member = self._member
        async with AsyncExitStack() as parts:
            await member.join(parts)
            self._joined.set()
            on_joined()
            try:
                async with open_tasks() as tasks:
                    tasks.create_task(member.watch())
                    await self._ending.wait()
            except TakenOut as error:
                if member.absence.is_recent:
                    self._joined.clear()
                    title = self._plan.service.title
                    self._report.note(
                        f"{title} was put back while this machine was away; joining it again"
                    )
                    return
                self._fail(error)
            except KtnetError as error:
                self._fail(error)
            await self._ending.wait()

    async def _come_back(self) -> None:
        self._plan = await make_plan(self._cluster, self._plan.options)
        self._member = Member(self._cluster, self._plan, self._name, self._report, self.ledger)
        await self._live_once(lambda: self._report.note(f"{self.describe_mark()} again"))

    def _fail(self, error: KtnetError) -> None:
        if not self._failure.done():
            self._failure.set_result(error)

    async def wait_joined(self) -> None:
        """Until it is a member."""
        await self._joined.wait()

    async def watch(self) -> NoReturn:
        """Tells when a port here has no listener; raises Conflict where somebody has put the
        Service back though this machine was there, NotFound where it is gone."""
        async with open_tasks() as tasks:
            for each in self._exposed:
                tasks.create_task(each.local.run_watch())
                tasks.create_task(each.report_changes(self._report))
            raise await self._failure

    async def end(self, running: asyncio.Task[None]) -> None:
        """Have `run`, which this is, leave; returns when it has."""
        self._ending.set()
        if not self._joined.is_set():
            running.cancel()
        await asyncio.wait({running})

    # -- what is asked of it ---------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        member = self._member
        return {
            "namespace": self._cluster.namespace,
            "context": self._cluster.context,
            "session": self._name,
            "name": self._plan.service.title,
            "mark": self.mark,
            "mode": "auto",
            "router": member.router.name if member.router is not None else "",
            "attached": member.attachments.pods if member.attachments is not None else {},
            "exposed": [each.describe() for each in self._exposed],
        }

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self._member.is_undone:
            return "nothing of this session is left, and this machine was never changed"
        return "what is left in the cluster ends by itself, or by `ktnet clean`"


@asynccontextmanager
async def open_auto_session(options: MeshOptions, report: Report) -> AsyncIterator[Running]:
    """Member of a Service's mesh until the context is left.

    Raises a KtnetError that says which part failed, everything undone.
    """
    async with open_cluster(options.cluster) as cluster:
        report.step("cluster", cluster.describe())
        await require_rights(cluster.api, cluster.namespace, list_for_router())
        await tidy(cluster, report)
        plan = await make_plan(cluster, options)
        session = MeshAutoSession(cluster, plan, report)
        async with open_tasks() as tasks:
            running = tasks.create_task(session.run())
            await session.wait_joined()
            report.step("mark", session.describe_mark())
            try:
                yield Running(
                    tunnel=None,  # there are several, to the router's pods
                    connections=session.ledger,
                    describe_own=session.describe,
                    watch=session.watch,
                    describe_end=session.describe_end,
                )
            finally:
                await session.end(running)


async def make_plan(cluster: Cluster, options: MeshOptions) -> MeshPlan:
    """What is to be meshed. Raises UsageError, NotFound or Conflict where that can't be."""
    if options.shadow.sideload:
        raise UsageError("--mode auto can't be sideloaded", hint="it takes the shadow's image")
    if options.shadow.via != "port-forward":
        raise UsageError(
            "--mode auto has no --via direct: who may attach is who may port-forward to the router"
        )
    service, pod_spec = await find_service(cluster, options.workload)
    check_selectable(service.obj)
    if parse_exchange(service.obj) is not None:
        raise Conflict(f"{service.title} is exchanged", hint="`ktnet status` says by whom")
    pod_spec = pod_spec or await read_pod_spec(cluster, find_original_selector(service.obj))
    router_ports = plan_ports(service.obj, pod_spec)
    ports = resolve_exposures(options.exposures, pod_spec, [service.obj])
    known = {port.number for port in router_ports}
    for port in ports:
        if port.remote not in known:
            raise UsageError(
                f"{service.title} sends nothing to port {port.remote} of its pods",
                hint=f"it does to {', '.join(map(str, sorted(known)))}",
            )
    return MeshPlan(options, service, ports, router_ports)


def _new_name(service: str) -> str:
    alphabet = string.ascii_lowercase + string.digits
    return f"{service[:50]}-mesh-" + "".join(secrets.choice(alphabet) for _ in range(5))
