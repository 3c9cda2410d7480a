"""One's own requests to a Service, by a router in front of it that all who want some share.

the Service is meshed? ─ no ──► make a router, attach, wait until it is ready ─┐
        └────────────── yes ──► attach to all of its pods ─────────────────────┴─► join ─► (meshed)
                                                                                             │
removed ◄─ was it the last one? ◄─ leave ◄─ its requests are answered ◄──────────────────────┘
"""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ktnet.cluster.exchange.exposure import ExposedPort, resolve_exposures
from ktnet.cluster.exchange.taking import check_selectable
from ktnet.cluster.exchange.upkeep import Kept
from ktnet.cluster.exchange.workload import Subject, find_original_selector
from ktnet.cluster.heartbeat import run_heartbeat
from ktnet.cluster.holding import find_holder
from ktnet.cluster.mesh.membership import check_mark, drop, lead_back, read_mesh, try_join, undo
from ktnet.cluster.mesh.router import Router, close_router, make_router, wait_until_routing
from ktnet.cluster.mesh.router_manifests import (
    GRACE_S,
    REPLICAS,
    RouterPort,
    RouterSpec,
    build_member_lease,
    build_router_name,
    plan_ports,
)
from ktnet.cluster.rights import list_for_router
from ktnet.cluster.server.informer import run_informer
from ktnet.cluster.server.review import require_rights
from ktnet.cluster.shadow.manifests import LEASE_DURATION_S
from ktnet.errors import Conflict, KtnetError, NotFound, UsageError
from ktnet.session.attachments import Attachments, open_attachments
from ktnet.session.cluster import Cluster, open_cluster
from ktnet.session.exchange_plan import find_service, read_pod_spec
from ktnet.session.inbound import Exposed
from ktnet.session.leftovers import tidy
from ktnet.session.live import LiveRequest
from ktnet.session.mesh import MeshOptions
from ktnet.session.patience import retry_while_away
from ktnet.session.report import Report
from ktnet.session.tunnel import build_spec
from ktnet.tasks import open_tasks
from ktnet.wire.meshmark import Registration
from ktnet.wire.meshrecord import Member, MeshRecord, build_selector, parse_record
from ktnet.wire.record import build_time
from ktnet.wire.record import parse_record as parse_exchange

Json = dict[str, Any]

_ATTEMPTS = 10
"""To join; each of them found that others had come or gone meanwhile."""
_RETRY_FOR_S = 60.0
"""At the end, while the API server is away."""


@dataclass(frozen=True)
class _Plan:
    """What is meshed, and how."""

    options: MeshOptions
    service: Subject
    ports: tuple[ExposedPort, ...]
    router_ports: tuple[RouterPort, ...]


class MeshAutoSession:
    """A member of a Service's mesh."""

    def __init__(self, cluster: Cluster, plan: _Plan, report: Report) -> None:
        self._cluster = cluster
        self._plan = plan
        self._report = report
        self._name = _new_name(plan.service.name)
        self._router: Router | None = None
        self._attachments: Attachments | None = None
        self._exposed = [Exposed(port) for port in plan.ports]
        self._is_undone = False

    @property
    def mark(self) -> str:
        """As the header field says it."""
        return f"{self._plan.options.key}: {self._plan.options.value}"

    # -- to join ---------------------------------------------------------------------------------

    async def join(self, parts: AsyncExitStack) -> None:
        """From now on the mark's requests come here; `parts` undoes it. Raises Conflict."""
        for _ in range(_ATTEMPTS):
            async with AsyncExitStack() as trial:
                if await self._try(trial):
                    parts.push_async_exit(trial.pop_all().__aexit__)
                    return
        raise Conflict(
            f"{self._plan.service.title} is being meshed by others all the time; nothing is changed"
        )

    async def _try(self, parts: AsyncExitStack) -> bool:
        """False where others have come or gone meanwhile, and it is to be tried anew."""
        api, namespace = self._cluster.api, self._cluster.namespace
        options, service = self._plan.options, self._plan.service.name
        seen = await read_mesh(api, namespace, service)
        member = Member(
            self._name, find_holder(), build_time(api.now()), options.key, options.value
        )
        record = seen[2]
        is_first = record is None
        # Before anything is made: we may never hear that it was.
        parts.push_async_callback(self.end)
        if record is None:
            spec = self._build_spec(seen[0])
            self._router = Router(spec.name, "")
            self._report.waiting(f"making the router {spec.name}")
            self._router = await make_router(api, spec, self._report.note)
            record = MeshRecord(spec.name, spec.selector)
        else:
            await check_mark(api, namespace, record, member)
            self._router = await self._find_router(seen[1], record)
            if self._router is None:
                return False
        try:
            await self._make_lease(self._router)
            attachments = await parts.enter_async_context(
                open_attachments(
                    self._cluster, self._router.name, self._build_registration(), self._plan.ports
                )
            )
            self._attachments = attachments
            parts.push_async_callback(attachments.leave)
            timeout_s = options.shadow.timeout_s
            await attachments.wait_attached(REPLICAS if is_first else 1, timeout_s)
            if is_first:
                await wait_until_routing(api, namespace, self._router.name, timeout_s)
            return await try_join(api, namespace, seen, record, member)
        except KtnetError:
            # The last one may have left, and taken the router along.
            if await self._is_needed(self._router.name) or is_first:
                raise
            return False

    def _build_spec(self, service: Json) -> RouterSpec:
        selector = tuple(sorted(service["spec"]["selector"].items()))
        return RouterSpec(
            build_spec(self._plan.options.shadow, self._cluster.namespace),
            service["metadata"]["name"],
            service["metadata"]["uid"],
            build_router_name(service["metadata"]["name"]),
            self._plan.router_ports,
            selector,
            find_holder(),
        )

    def _build_registration(self) -> Registration:
        options = self._plan.options
        return Registration(
            self._name,
            options.key,
            options.value,
            tuple(port.remote for port in self._plan.ports),
            fail_open=options.on_disconnect == "origin",
        )

    async def _find_router(self, text: str, record: MeshRecord) -> Router | None:
        """The one that is named; where somebody has deleted it, the Service is put back."""
        api, namespace = self._cluster.api, self._cluster.namespace
        try:
            found = await api.get("deployments", record.router, namespace=namespace)
        except NotFound:
            found = {"metadata": {"deletionTimestamp": "long ago"}}
        if not found["metadata"].get("deletionTimestamp"):
            return Router(record.router, str(found["metadata"]["uid"]))
        service = self._plan.service.name
        if await undo(api, namespace, service, text, record):
            self._report.note(
                f"the router of service/{service} was deleted by somebody; it is made anew"
            )
        return None

    async def _make_lease(self, router: Router) -> None:
        api, namespace = self._cluster.api, self._cluster.namespace
        lease = build_member_lease(
            self._name, namespace, router.name, find_holder(), api.now(), self._lease_s
        )
        lease["metadata"]["ownerReferences"] = [router.owner]
        await api.create("leases", lease, namespace=namespace)

    @property
    def _lease_s(self) -> int:
        return max(4, min(LEASE_DURATION_S, self._plan.options.shadow.idle_s or LEASE_DURATION_S))

    # -- while it lasts --------------------------------------------------------------------------

    async def watch(self) -> None:
        """Stays attached to whatever pods the router has; raises Conflict where somebody else has
        put the Service back, NotFound where it is gone."""
        api, namespace = self._cluster.api, self._cluster.namespace
        fields = {"metadata.name": self._plan.service.name}
        upkeep = _Upkeep(self._plan.service, self._name, self._report)
        async with open_tasks() as tasks:
            tasks.create_task(run_heartbeat(api, namespace, self._name, self._lease_s))
            for each in self._exposed:
                tasks.create_task(each.local.run_watch())
                tasks.create_task(each.report_changes(self._report))
            tasks.create_task(
                run_informer(api, "services", "", upkeep, namespace=namespace, fields=fields)
            )
            while True:
                text, record = await upkeep.next_reset()
                with suppress(KtnetError):
                    await lead_back(api, namespace, self._plan.service.name, text, record)

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        return {
            "namespace": self._cluster.namespace,
            "context": self._cluster.context,
            "session": self._name,
            "name": self._plan.service.title,
            "mark": self.mark,
            "mode": "auto",
            "router": self._router.name if self._router is not None else "",
            "attached": self._attachments.pods if self._attachments is not None else {},
            "exposed": [
                {"port": each.port.remote, "local": each.here, "listening": each.local.is_listening}
                for each in self._exposed
            ],
        }

    @property
    def tunnel(self) -> None:
        """There are several, to the router's pods."""
        return

    async def tell_live(self, _: LiveRequest) -> dict[str, Any]:
        """Nothing beyond its state: how far the router's pods are, none of them says."""
        return {}

    async def explain_name(self, _name: str, _qtype: int) -> dict[str, Any]:
        """Raises NotFound: no name of this machine is decided upon here."""
        raise NotFound("`ktnet mesh` doesn't touch this machine's names")

    # -- the end ---------------------------------------------------------------------------------

    async def end(self) -> None:
        """Leave; the last one takes the router along. What fails is told, and left to `clean`."""
        try:
            self._is_undone = await retry_while_away(self._leave, _RETRY_FOR_S)
        except KtnetError as error:
            self._say_not_undone(error)

    async def _leave(self) -> bool:
        api, namespace = self._cluster.api, self._cluster.namespace
        await drop(api, namespace, self._plan.service.name, self._name)
        if self._router is None:
            return True
        if await self._is_needed(self._router.name):
            with suppress(NotFound):
                await api.delete("leases", self._name, namespace=namespace)
            return True
        self._report.waiting("the router's clients to go elsewhere")
        return await close_router(api, namespace, self._router.name, GRACE_S)

    async def _is_needed(self, router: str) -> bool:
        api, namespace = self._cluster.api, self._cluster.namespace
        try:
            _, _, record = await read_mesh(api, namespace, self._plan.service.name)
        except NotFound:
            return False
        return record is not None and record.router == router

    def _say_not_undone(self, error: KtnetError) -> None:
        self._report.note(
            f"{self._plan.service.title} could not be left: {error}; its requests go to its own "
            f"pods, and `ktnet clean -n {self._cluster.namespace}` removes what is left"
        )

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self._is_undone:
            return "nothing of this session is left, and this machine was never changed"
        return "what is left in the cluster ends by itself, or by `ktnet clean`"


class _Upkeep(Kept):
    """What others do to the Service."""

    def __init__(self, service: Subject, session: str, report: Report) -> None:
        super().__init__(service.title)
        self._session = session
        self._report = report
        self._resets: asyncio.Queue[tuple[str, MeshRecord]] = asyncio.Queue()

    async def next_reset(self) -> tuple[str, MeshRecord]:
        """The annotation of the Service, whose selector is no longer the router's."""
        return await self._resets.get()

    def check(self, obj: Json) -> None:
        """Raises Conflict where this session isn't in it any more."""
        title = self.title
        try:
            found = parse_record(obj)
        except ValueError as error:
            raise Conflict(f"{title}: {error}") from error
        if found is None or found[1].find(self._session) is None:
            raise Conflict(
                f"this session has been taken out of {title}",
                hint="by `ktnet recover` or `ktnet clean`; or nobody was attached for --idle, as "
                "when this machine slept: then the router has put the Service back",
            )
        if obj["spec"].get("selector") != build_selector(found[1].router):
            self._report.note(f"somebody else has reset the selector of {title}; set again")
            self._resets.put_nowait(found)


@asynccontextmanager
async def open_auto_session(options: MeshOptions, report: Report) -> AsyncIterator[MeshAutoSession]:
    """Member of a Service's mesh until the context is left.

    Raises a KtnetError that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(open_cluster(options.cluster))
        report.step("cluster", cluster.describe())
        await require_rights(cluster.api, cluster.namespace, list_for_router())
        await tidy(cluster, report)
        plan = await _make_plan(cluster, options)
        session = MeshAutoSession(cluster, plan, report)
        await session.join(parts)
        report.step("mark", f"requests to {plan.service.title} with `{session.mark}` come here")
        yield session


async def _make_plan(cluster: Cluster, options: MeshOptions) -> _Plan:
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
    return _Plan(options, service, ports, router_ports)


def _new_name(service: str) -> str:
    alphabet = string.ascii_lowercase + string.digits
    return f"{service[:50]}-mesh-" + "".join(secrets.choice(alphabet) for _ in range(5))
