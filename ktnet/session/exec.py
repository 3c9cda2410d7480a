"""One command in a network of its own, joined to the cluster; this machine is as it was.

sandbox: TUN ──► capture ──► gateway ┬─► tunnel: the cluster's networks
                                     └─► sockets of this process: everything else
sandbox: DNS ──► dns: cluster names to the tunnel, others to this machine's servers
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ktnet.capture.engine import Capture, open_capture
from ktnet.cluster.cidrs import ClusterRanges, api_server_addresses, find_cluster_ranges
from ktnet.cluster.services import open_service_index
from ktnet.dns.proxy import Proxy, open_proxy
from ktnet.gateway.datagrams import open_datagrams
from ktnet.gateway.dialer import Gateway, Networks
from ktnet.host.facts import HostFacts
from ktnet.host.plan import HostPlan, plan_host
from ktnet.host.resolvconf import build_resolv_conf
from ktnet.host.resolver import survey_resolver
from ktnet.host.resolver_plan import ResolverFact, ResolverPlan, merge_search
from ktnet.host.sandbox import LINK, Sandbox
from ktnet.session.cluster import open_cluster
from ktnet.session.live import LiveRequest
from ktnet.session.names import build_search, decide_names, parse_nameservers
from ktnet.session.options import ConnectOptions
from ktnet.session.report import Report
from ktnet.session.tunnel import Tunnel, build_spec, open_tunnel
from ktnet.tasks import open_tasks


@dataclass(frozen=True)
class ExecSession:
    """A sandbox that is joined to a cluster; its command may start."""

    tunnel: Tunnel
    capture: Capture
    proxy: Proxy
    plan: HostPlan
    resolv_conf: str

    async def watch(self) -> None:
        """Waits until a part is lost; raises what became of it."""
        async with open_tasks() as tasks:
            tasks.create_task(self.capture.wait_lost(), name="watch the TUN")
            await self.tunnel.watch()

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        return {
            **self.tunnel.describe(),
            "routes": [str(network) for network in self.plan.routes],
            "flows": asdict(self.capture.counters),
            "dns": asdict(self.proxy.counters),
        }

    async def tell_live(self, request: LiveRequest) -> dict[str, Any]:
        """What goes on, for the dashboard."""
        return {
            **await self.tunnel.tell_live(),
            "flows": self.capture.describe_flows(request.flows),
            "queries": self.proxy.describe_recent(request.queries),
        }


@asynccontextmanager
async def open_exec_session(
    options: ConnectOptions, sandbox: Sandbox, report: Report
) -> AsyncIterator[ExecSession]:
    """Join the sandbox to the cluster until the context is left; then nothing of it remains.

    Raises a KtnetError that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(
            open_cluster(options.cluster, options.shadow.timeout_s)
        )
        services = await parts.enter_async_context(
            open_service_index(cluster.api, cluster.namespace)
        )
        tasks = await parts.enter_async_context(open_tasks())
        finding_ranges = tasks.create_task(
            find_cluster_ranges(cluster.api, cluster.namespace, pod_ips=not options.no_pod_ips)
        )
        report.step("cluster", cluster.describe())
        spec = build_spec(options.shadow, cluster.namespace)
        tunnel = await parts.enter_async_context(open_tunnel(cluster, spec, report))

        ranges = await finding_ranges
        fact = survey_resolver()
        reached = await api_server_addresses(cluster.api)
        plan = plan_sandbox(options, cluster.namespace, ranges, fact, reached)
        for text in (services.warning, *ranges.warnings, *plan.warnings):
            if text:
                report.note(text)
        networks = Networks(plan.routes)
        dialing = await parts.enter_async_context(open_tasks())
        datagrams = await parts.enter_async_context(open_datagrams(networks))
        gateway = Gateway(networks, tunnel, dialing)
        capture = await parts.enter_async_context(
            open_capture(sandbox.tun_fd, gateway, datagrams=datagrams)
        )
        proxy = await parts.enter_async_context(
            open_proxy(
                sandbox.dns_udp,
                sandbox.dns_tcp,
                decide_names(options, services, fact, plan),
                tunnel.ask,
                parse_nameservers(fact),
            )
        )
        report.step("sandbox", f"{', '.join(map(str, plan.routes))} are the cluster's")
        assert isinstance(plan.resolver, ResolverPlan)  # noqa: S101  (narrows the type)
        yield ExecSession(tunnel, capture, proxy, plan, build_resolv_conf(plan.resolver, ()))


def plan_sandbox(
    options: ConnectOptions,
    namespace: str,
    ranges: ClusterRanges,
    fact: ResolverFact,
    reached: Iterable[IPv4Address],
) -> HostPlan:
    """What in the sandbox is the cluster's: nothing of this machine's network is in its way."""
    excluded: list[IPv4Network | IPv4Address] = [*options.exclude, *reached]
    facts = HostFacts(links=(), addresses=(), routes=(), resolver=fact)
    plan = plan_host(
        facts, (*ranges.services, *ranges.pods), excluded, included=options.include, mode="off"
    )
    search = merge_search(build_search(options, namespace), fact.search)
    return HostPlan(LINK, plan.routes, ResolverPlan(LINK.address, search), plan.warnings)
