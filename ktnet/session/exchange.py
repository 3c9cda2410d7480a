"""A workload's, or a Service's, requests to this machine; and back.

plan ─► shadow ─► its ports reach us? ─► Ready? ─► take ─► (exchanged)
                                                              │
gone ◄─ shadow drains ◄─ is the workload ready again? ◄─ give back
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from ktnet.cluster.exchange.exposure import Exposure
from ktnet.cluster.exchange.restoring import Restoring
from ktnet.cluster.exchange.taking import give_back, take_by_scale, take_by_selector
from ktnet.cluster.exchange.upkeep import check_held, run_upkeep
from ktnet.cluster.holding import find_holder
from ktnet.cluster.readiness import wait_until_available
from ktnet.cluster.rights import list_for_exchange, list_required
from ktnet.cluster.server.review import require_rights
from ktnet.cluster.shadow.dependents import Dependent
from ktnet.cluster.shadow.manifests import (
    ShadowSpec,
    build_origin_name,
    build_selector,
    build_service,
)
from ktnet.errors import KtnetError, NotFound
from ktnet.session.cluster import open_cluster
from ktnet.session.exchange_plan import (
    ExchangePlan,
    describe_abandoned,
    plan_by_scale,
    plan_by_selector,
    plan_restoring,
)
from ktnet.session.inbound import open_inbound
from ktnet.session.leftovers import tidy
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.session.patience import retry_while_away
from ktnet.session.report import Report
from ktnet.session.running import Running
from ktnet.session.tunnel import Tunnel, build_spec, open_tunnel
from ktnet.tasks import open_tasks
from ktnet.wire.record import Mode, Record


@dataclass(frozen=True)
class ExchangeOptions:
    """What is exchanged, and how."""

    cluster: ClusterOptions
    shadow: ShadowOptions
    name: str
    exposures: tuple[Exposure, ...]
    mode: Mode = "scale"
    on_disconnect: str = "origin"
    """Mode selector: "origin" or "refuse"."""
    recover_wait_s: float = 120


class Exchange:
    """A workload or Service whose requests are taken, and given back."""

    def __init__(
        self, options: ExchangeOptions, plan: ExchangePlan, tunnel: Tunnel, report: Report
    ) -> None:
        self._cluster = tunnel.cluster
        self._options = options
        self._plan = plan
        self._tunnel = tunnel
        self._report = report
        self._record: Record | None = None
        self._is_given_back = False

    @property
    def _session(self) -> str:
        return self._tunnel.shadow.name

    @property
    def _selector(self) -> dict[str, str] | None:
        """What the Service's selector is meanwhile; None for a workload."""
        return build_selector(self._session) if self._options.mode == "selector" else None

    async def take(self) -> None:
        """From now on its requests come here. Raises Conflict where somebody else has it."""
        take: Awaitable[Record]
        api, namespace, subject = self._cluster.api, self._cluster.namespace, self._plan.subject
        if self._selector is None:
            take = take_by_scale(
                api, namespace, subject, session=self._session, holder=find_holder()
            )
        else:
            take = take_by_selector(
                api,
                namespace,
                subject,
                self._selector,
                session=self._session,
                holder=find_holder(),
            )
        self._record = await take
        self._tunnel.keeper.before_revival = partial(
            check_held, api, namespace, subject, self._session
        )
        self._report.step("taken", self._describe_taken(self._record))

    def _describe_taken(self, record: Record) -> str:
        title = self._plan.subject.title
        if record.mode == "scale":
            return f"{title} is at 0 of {record.replicas}; its requests come here"
        return f"{title} leads here"

    async def watch(self) -> None:
        """Has the tunnel come back whenever it breaks; raises what can't come back, and Conflict
        where somebody else has put the workload back."""
        async with open_tasks() as tasks:
            tasks.create_task(
                run_upkeep(
                    self._cluster.api,
                    self._cluster.namespace,
                    self._plan.subject,
                    self._session,
                    self._selector,
                    self._report.note,
                )
            )
            await self._tunnel.watch()

    async def end(self) -> None:
        """Give back, wait until it is served there again, then send the last callers away."""
        self._report.begin()
        async with open_tasks() as tasks:
            # Callers come here until others are ready to take them.
            tasks.create_task(_keep_up(self._tunnel))
            if not await self._give_back():
                return
            if self._record is not None and self._record.mode == "scale":
                await self._wait_until_served(self._record.replicas)
        await self._tunnel.shadow.delete()

    async def _give_back(self) -> bool:
        """Whether it is as it was. It may have been taken though we have heard no answer."""
        subject, namespace = self._plan.subject, self._cluster.namespace
        asked = self._record or Record(self._session, "", "", self._options.mode)
        try:
            undone = await retry_while_away(
                lambda: give_back(self._cluster.api, namespace, subject, asked),
                self._options.recover_wait_s,
            )
        except KtnetError as error:
            self._say_not_given_back(error)
            return False
        self._is_given_back = True
        if undone:
            self._report.step("given back", subject.title)
        return True

    def _say_not_given_back(self, error: KtnetError) -> None:
        # Where its requests go to; with an origin it passes them on.
        self._tunnel.shadow.is_kept = True
        self._report.note(
            f"{self._plan.subject.title} could not be put back: {error}; when the cluster is "
            f"there again: ktnet recover {self._plan.subject.title} -n {self._cluster.namespace}"
        )

    async def _wait_until_served(self, replicas: int) -> None:
        subject = self._plan.subject
        if not replicas:
            return
        self._report.waiting(f"{replicas} of {subject.title} to be ready")
        with suppress(NotFound):
            if not await wait_until_available(
                self._cluster.api,
                self._cluster.namespace,
                subject.plural,
                subject.name,
                replicas,
                self._options.recover_wait_s,
            ):
                self._report.note(
                    f"{subject.title} is not ready within {self._options.recover_wait_s:g} s, and "
                    "isn't waited for any longer (--recover-wait)"
                )

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self._is_given_back:
            return self._tunnel.describe_end()
        return f"{self._plan.subject.title} is not put back: see `ktnet recover`"


@asynccontextmanager
async def open_exchange_session(options: ExchangeOptions, report: Report) -> AsyncIterator[Running]:
    """Exchanges until the context is left; then all is as it was.

    Raises a KtnetError that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(open_cluster(options.cluster))
        report.step("cluster", cluster.describe())
        await tidy(cluster, report)
        await require_rights(cluster.api, cluster.namespace, list_required("exchange"))
        make_plan = plan_by_scale if options.mode == "scale" else plan_by_selector
        plan = await make_plan(
            cluster, options.name, options.exposures, options.on_disconnect, report
        )
        needed = list_for_exchange(plan.subject.plural)
        await require_rights(cluster.api, cluster.namespace, needed)
        restoring = await plan_restoring(
            cluster, plan.subject, options.mode, options.shadow.service_account, report
        )
        spec = _build_spec(options, cluster.namespace, plan, restoring)
        tunnel = await parts.enter_async_context(open_tunnel(cluster, spec, report))
        if options.mode == "selector":
            await _make_origin(tunnel, plan, spec)
        inbound = await parts.enter_async_context(open_inbound(tunnel, plan.ports, report))
        await inbound.prove()
        ports = ", ".join(f"{each.port.remote} -> {each.here}" for each in inbound.exposed)
        report.step("ports", ports)
        if restoring is not None:
            await _report_restoring(tunnel, plan, options, report)
        exchange = Exchange(options, plan, tunnel, report)
        # Before it is taken: we may never hear the answer.
        parts.push_async_callback(exchange.end)
        await exchange.take()
        yield Running(
            tunnel=tunnel,
            connections=inbound.ledger,
            describe_own=lambda: {
                "exchanged": plan.subject.title,
                "mode": options.mode,
                "exposed": inbound.describe(),
            },
            watch=exchange.watch,
            describe_end=exchange.describe_end,
        )


async def _report_restoring(
    tunnel: Tunnel, plan: ExchangePlan, options: ExchangeOptions, report: Report
) -> None:
    if await tunnel.shadow.read_arming():
        report.step("restores", f"by itself, {tunnel.shadow.spec.idle_s} s without this machine")
        return
    why = f"the shadow may not patch {plan.subject.title} from where it runs"
    if tunnel.shadow.account_refusal:
        why = f"the shadow was refused its account: {tunnel.shadow.account_refusal}"
    abandoned = describe_abandoned(plan.subject, options.mode, tunnel.shadow.spec.namespace)
    report.note(f"{why}: {abandoned}")


def _build_spec(
    options: ExchangeOptions, namespace: str, plan: ExchangePlan, restoring: Restoring | None
) -> ShadowSpec:
    return replace(
        build_spec(options.shadow, namespace),
        command="exchange",
        ports=plan.shadow_ports,
        pod_labels=tuple(sorted(plan.pod_labels.items())),
        hostname=plan.hostname,
        subdomain=plan.subdomain,
        restoring=restoring,
        # It stands in others' place until that is undone.
        idle_s=options.shadow.idle_s if restoring is not None else 0,
    )


async def _make_origin(tunnel: Tunnel, plan: ExchangePlan, spec: ShadowSpec) -> None:
    """The Service by which the original pods are still reached."""
    session = tunnel.shadow.name
    name = build_origin_name(session)
    selector = dict(plan.subject.obj["spec"]["selector"])
    build = partial(build_service, name, spec, session, selector)
    await tunnel.shadow.dependents.add(Dependent("services", name, build))


async def _keep_up(tunnel: Tunnel) -> None:
    """What can't come back any more is no reason not to go on giving back."""
    with suppress(KtnetError):
        await tunnel.watch()
