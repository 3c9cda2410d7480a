"""One who shares a Service's mesh, from joining it to leaving it or being taken out.

the Service is meshed? ─ no ──► make a router, attach, wait until it is ready ─┐
        └────────────── yes ──► attach to all of its pods ─────────────────────┴─► join ─► (meshed)
                                                                                             │
removed ◄─ was it the last one? ◄─ leave ◄─ its requests are answered ◄──────────────────────┘
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

from ktnet.cluster.exchange.exposure import ExposedPort
from ktnet.cluster.exchange.upkeep import Kept
from ktnet.cluster.exchange.workload import Subject
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
)
from ktnet.cluster.server.informer import run_informer
from ktnet.cluster.shadow.manifests import LEASE_DURATION_S
from ktnet.errors import Conflict, KtnetError, NotFound
from ktnet.session.absence import Absence
from ktnet.session.attachments import Attachments, open_attachments
from ktnet.session.cluster import Cluster
from ktnet.session.mesh import MeshOptions
from ktnet.session.patience import retry_while_away
from ktnet.session.report import Report
from ktnet.session.tunnel import build_spec
from ktnet.stream.ledger import Ledger
from ktnet.tasks import open_tasks
from ktnet.wire.meshmark import Registration
from ktnet.wire.meshrecord import Member as Entry
from ktnet.wire.meshrecord import MeshRecord, build_selector, parse_record
from ktnet.wire.record import build_time

Json = dict[str, Any]

_ATTEMPTS = 10
"""To join; each of them found that others had come or gone meanwhile."""
_RETRY_FOR_S = 60.0
"""At the end, while the API server is away."""


@dataclass(frozen=True)
class MeshPlan:
    """What is meshed, and how."""

    options: MeshOptions
    service: Subject
    ports: tuple[ExposedPort, ...]
    router_ports: tuple[RouterPort, ...]


class TakenOut(Conflict):
    """Somebody, or the router, has taken this member out."""


class Member:
    """One membership, joined and left in one task."""

    def __init__(
        self, cluster: Cluster, plan: MeshPlan, name: str, report: Report, ledger: Ledger
    ) -> None:
        """What comes here stands in `ledger`."""
        self.name = name
        self.router: Router | None = None
        self.attachments: Attachments | None = None
        self.absence = Absence(find_lease_s(plan.options))
        self.is_undone = False
        self._cluster = cluster
        self._plan = plan
        self._report = report
        self._ledger = ledger
        self.is_out = False

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
        member = Entry(self.name, find_holder(), build_time(api.now()), options.key, options.value)
        record = seen[2]
        is_first = record is None
        # Before anything is made: we may never hear that it was.
        parts.push_async_callback(self.end)
        if record is None:
            spec = self._build_spec(seen[0])
            self.router = Router(spec.name, "")
            self._report.waiting(f"making the router {spec.name}")
            self.router = await make_router(api, spec, self._report.note)
            record = MeshRecord(spec.name, spec.selector)
        else:
            await check_mark(api, namespace, record, member)
            self.router = await self._find_router(seen[1], record)
            if self.router is None:
                return False
        try:
            await self._make_lease(self.router)
            attachments = await parts.enter_async_context(
                open_attachments(
                    self._cluster,
                    self.router.name,
                    self._build_registration(),
                    self._plan.ports,
                    self._ledger,
                )
            )
            self.attachments = attachments
            parts.push_async_callback(self._detach)
            timeout_s = options.shadow.timeout_s
            await attachments.wait_attached(REPLICAS if is_first else 1, timeout_s)
            if is_first:
                await wait_until_routing(api, namespace, self.router.name, timeout_s)
            return await try_join(api, namespace, seen, record, member)
        except KtnetError:
            # The last one may have left, and taken the router along.
            if await self._is_needed(self.router.name) or is_first:
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
            self.name,
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
            self.name,
            namespace,
            router.name,
            find_holder(),
            api.now(),
            find_lease_s(self._plan.options),
        )
        lease["metadata"]["ownerReferences"] = [router.owner]
        await api.create("leases", lease, namespace=namespace)

    async def _detach(self) -> None:
        if self.attachments is not None and not self.is_out:
            await self.attachments.leave()

    # -- while it lasts --------------------------------------------------------------------------

    async def watch(self) -> None:
        """Stays attached to whatever pods the router has; raises TakenOut where it isn't in the
        list any more, NotFound where the Service is gone."""
        api, namespace = self._cluster.api, self._cluster.namespace
        service, lease_s = self._plan.service, find_lease_s(self._plan.options)
        fields = {"metadata.name": service.name}
        upkeep = _Upkeep(service, self.name, self._report)
        beating = run_heartbeat(
            api, namespace, self.name, lease_s, on_renewed=self.absence.note_renewal
        )
        try:
            async with open_tasks() as tasks:
                tasks.create_task(beating)
                tasks.create_task(
                    run_informer(api, "services", "", upkeep, namespace=namespace, fields=fields)
                )
                while True:
                    text, record = await upkeep.next_reset()
                    with suppress(KtnetError):
                        await lead_back(api, namespace, service.name, text, record)
        except TakenOut:
            self.is_out = True
            raise

    # -- the end ---------------------------------------------------------------------------------

    async def end(self) -> None:
        """Leave; the last one takes the router along. What fails is told, and left to `clean`.

        The router of one who has been taken out is others' matter, or goes by itself.
        """
        if self.is_out:
            with suppress(KtnetError):
                await self._cluster.api.delete(
                    "leases", self.name, namespace=self._cluster.namespace
                )
            return
        try:
            self.is_undone = await retry_while_away(self._leave, _RETRY_FOR_S)
        except KtnetError as error:
            self._say_not_undone(error)

    async def _leave(self) -> bool:
        api, namespace = self._cluster.api, self._cluster.namespace
        await drop(api, namespace, self._plan.service.name, self.name)
        if self.router is None:
            return True
        if await self._is_needed(self.router.name):
            with suppress(NotFound):
                await api.delete("leases", self.name, namespace=namespace)
            return True
        self._report.waiting("the router's clients to go elsewhere")
        return await close_router(api, namespace, self.router.name, GRACE_S)

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
        """Raises TakenOut where this session isn't in it any more."""
        title = self.title
        try:
            found = parse_record(obj)
        except ValueError as error:
            raise Conflict(f"{title}: {error}") from error
        if found is None or found[1].find(self._session) is None:
            raise TakenOut(
                f"this session has been taken out of {title}",
                hint="by `ktnet recover` or `ktnet clean`, though it was there",
            )
        if obj["spec"].get("selector") != build_selector(found[1].router):
            self._report.note(f"somebody else has reset the selector of {title}; set again")
            self._resets.put_nowait(found)


def find_lease_s(options: MeshOptions) -> int:
    """So long its Lease is good for: the router waits for it no longer than `--idle`."""
    return max(4, min(LEASE_DURATION_S, options.shadow.idle_s or LEASE_DURATION_S))
