"""A machine joined to a cluster: capture and names put before a tunnel.

    tunnel: shadow pod, SSH ───────────────┬─► capture: TUN <-> flows through the tunnel
    host: facts, TUN, DNS sockets ─────────┤
    cluster: ranges, Services ─────────────┴─► dns: cluster names to the tunnel, others as before

and then one probe through TUN and tunnel; only after that routes and resolver are changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ktnet.capture.engine import Capture, open_capture
from ktnet.capture.probe import PROBE_PORT, probe, probe_firewall
from ktnet.cluster.cidrs import (
    ClusterRanges,
    api_server_addresses,
    api_server_addresses6,
    find_cluster_ranges,
)
from ktnet.cluster.services import ServiceIndex, open_service_index
from ktnet.cluster.shadow.session import RunningPod
from ktnet.dns.proxy import Proxy, open_proxy
from ktnet.errors import Conflict
from ktnet.host.addresswatch import run_address_watch
from ktnet.host.channel import Started
from ktnet.host.client import Host, open_host
from ktnet.host.facts import HostFacts
from ktnet.host.linkwatch import run_link_watch
from ktnet.host.plan import HELD, HostPlan, plan_host
from ktnet.session.additions import Additions
from ktnet.session.cluster import open_cluster
from ktnet.session.live import LiveRequest
from ktnet.session.names import (
    Names,
    build_routing,
    build_search,
    decide_names,
    parse_nameservers,
)
from ktnet.session.options import ConnectOptions
from ktnet.session.report import Report
from ktnet.session.state import WITHOUT_ICMP
from ktnet.session.tunnel import Tunnel, build_spec, open_tunnel
from ktnet.tasks import open_tasks
from ktnet.wire.shadow import PROBE_HOST

PROBE_TIMEOUT_S = 10.0
"""The way takes milliseconds; but a busy machine, or a first SYN that was lost and is repeated
after a second, is no failure."""


@dataclass
class Session:
    """A machine that is joined to a cluster."""

    host: Host
    tunnel: Tunnel
    capture: Capture
    proxy: Proxy
    names: Names
    additions: Additions
    plan_anew: Callable[[], Awaitable[HostPlan]]

    @property
    def plan(self) -> HostPlan:
        """What of this machine is changed now."""
        return self.names.plan

    async def leave_way_free(self, _: RunningPod) -> None:
        """Keep the way to the shadow outside the routes, though its pod be another one."""
        await self.names.use_routes((await self.plan_anew()).routes)

    async def watch(self) -> None:
        """Waits until a part is lost; raises what became of it."""
        async with open_tasks() as tasks:
            tasks.create_task(self.host.run_watch(), name="watch the helper")
            tasks.create_task(run_link_watch(self.plan.link.name), name="watch the link")
            tasks.create_task(
                run_address_watch(self.plan.link.name, self._check_tunnel), name="watch addresses"
            )
            tasks.create_task(self.capture.wait_lost(), name="watch the TUN")
            tasks.create_task(self.names.run(), name="names")
            tasks.create_task(self.additions.run(), name="additions")
            await self.tunnel.watch()

    async def _check_tunnel(self) -> None:
        await self.tunnel.keeper.check("a change of this machine's addresses")

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self.tunnel.shadow.is_gone:
            return "this machine and the cluster are as they were"
        return f"this machine is as it was; {self.tunnel.shadow.name} in the cluster ends by itself"

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        return {
            **self.tunnel.describe(),
            "link": self.plan.link.name,
            "routes": [str(network) for network in self.plan.routes],
            "added": [str(network) for network in self.names.added],
            "icmp_errors": self.capture.icmp_errors,
            "unreachable": [str(network) for network in self.plan.unreachable],
            "flows": asdict(self.capture.counters),
            **self.names.describe(),
            "dns": asdict(self.proxy.counters),
        }

    async def tell_live(self, request: LiveRequest) -> dict[str, Any]:
        """What goes on, for the dashboard."""
        return {
            **await self.tunnel.tell_live(),
            "flows": self.capture.describe_flows(request.flows),
            "queries": self.proxy.describe_recent(request.queries),
        }

    async def explain_name(self, name: str, qtype: int) -> dict[str, Any]:
        """How this machine's names are decided and answered, for `ktnet dns`."""
        resolver = self.plan.resolver
        tries = await self.proxy.explain(name, qtype, resolver.search if resolver else ())
        return {"tries": [{**asdict(each), "answer": each.answer.hex()} for each in tries]}


@asynccontextmanager
async def open_session(
    options: ConnectOptions, report: Report, helper: Started | None = None
) -> AsyncIterator[Session]:
    """Joins this machine to the cluster until the context is left; then nothing of it remains.

    `helper` is the host's, where it was started before this process gave up the rights to do so.
    Raises a KtnetError that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(
            open_cluster(options.cluster, options.shadow.timeout_s)
        )
        host = await parts.enter_async_context(open_host(options.helper, started=helper))
        found = await host.facts()
        if found.held:
            # Said here, a second session makes no shadow for nothing.
            raise Conflict(HELD, hint="end it with: ktnet disconnect")
        services = await parts.enter_async_context(
            open_service_index(cluster.api, cluster.namespace)
        )
        # Inside what they use: they have to be over before the connections to it are closed.
        tasks = await parts.enter_async_context(open_tasks())
        finding_ranges = tasks.create_task(
            find_cluster_ranges(cluster.api, cluster.namespace, pod_ips=not options.no_pod_ips)
        )
        report.step("cluster", cluster.describe())

        spec = build_spec(options.shadow, cluster.namespace)
        tunnel = await parts.enter_async_context(open_tunnel(cluster, spec, report))

        ranges = await finding_ranges
        facts = await host.facts()
        plan = await build_plan(options, tunnel, services, ranges, facts)
        for text in (
            *found.mended,
            *facts.mended,
            services.warning,
            *ranges.warnings,
            *plan.warnings,
        ):
            if text:
                report.note(text)
        capture, proxy = await enter_capture(parts, options, host, tunnel, services, facts, plan)
        names = Names(
            *(options, cluster.namespace, host, services, proxy, report),
            plan=plan,
            fact=facts.resolver,
        )
        if not capture.icmp_errors:
            report.note(WITHOUT_ICMP)
        # Undone before the parts that it points to go, and by the helper where we are killed.
        parts.push_async_callback(host.release)
        await names.apply()
        report.step("capture", f"{', '.join(map(str, plan.routes))} into {plan.link.name}")
        additions = Additions(names, await never_captured(options, tunnel), report)
        if not options.no_pod_ips:
            proxy.reach_first(additions.reach)
        session = Session(
            *(host, tunnel, capture, proxy, names, additions),
            lambda: build_plan(options, tunnel, services, ranges, facts),
        )
        tunnel.keeper.on_return.append(names.flush)
        if spec.via == "direct":
            tunnel.keeper.before_dial = session.leave_way_free
        yield session


async def enter_capture(
    parts: AsyncExitStack,
    options: ConnectOptions,
    host: Host,
    tunnel: Tunnel,
    services: ServiceIndex,
    facts: HostFacts,
    plan: HostPlan,
) -> tuple[Capture, Proxy]:
    """Puts the TUN and the DNS proxy before the tunnel, and tries them."""
    opened = await host.open_link(plan)
    probed = (str(plan.link.peer), PROBE_PORT)
    capture = await parts.enter_async_context(
        open_capture(opened.tun_fd, tunnel, local_targets={probed: (PROBE_HOST, PROBE_PORT)})
    )
    proxy = await parts.enter_async_context(
        open_proxy(
            opened.dns_udp,
            opened.dns_tcp,
            decide_names(options, services, facts.resolver, plan),
            tunnel.ask,
            parse_nameservers(facts.resolver),
        )
    )
    if not await probe_firewall(probed[0], plan.link.name):
        capture.answer_without_icmp()
    await probe(probed[0], PROBE_TIMEOUT_S)
    return capture, proxy


async def never_captured(
    options: ConnectOptions, tunnel: Tunnel
) -> list[IPv4Network | IPv4Address]:
    """What the tunnel needs outside of itself, and what the user has excluded."""
    excluded: list[IPv4Network | IPv4Address] = [
        *options.exclude,
        *await api_server_addresses(tunnel.cluster.api),
    ]
    if tunnel.shadow.spec.via == "direct":
        excluded.append(IPv4Address(tunnel.shadow.pod.ip))
    return excluded


async def build_plan(
    options: ConnectOptions,
    tunnel: Tunnel,
    services: ServiceIndex,
    ranges: ClusterRanges,
    facts: HostFacts,
) -> HostPlan:
    """What of this host's network shall change. The tunnel's own path is never captured."""
    namespace = tunnel.cluster.namespace
    return plan_host(
        facts,
        (*ranges.services, *ranges.pods),
        await never_captured(options, tunnel),
        build_search(options, namespace),
        routing=build_routing(options, namespace, services.namespaces),
        mode=options.dns_mode,
        included=options.include,
        ipv6=ranges.ipv6,
        excluded6=await api_server_addresses6(tunnel.cluster.api),
    )
