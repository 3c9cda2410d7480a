"""One command in a network of its own, joined to the cluster; this machine is as it was.

sandbox: TUN ──► capture ──► gateway ┬─► tunnel: the cluster's networks
                                     └─► sockets of this process: everything else
sandbox: DNS ──► dns: cluster names to the tunnel, others to this machine's servers
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Network

from ktnet.capture.engine import open_capture
from ktnet.cluster.cidrs import ClusterRanges, api_server_addresses
from ktnet.dns.proxy import open_proxy
from ktnet.gateway.datagrams import open_datagrams
from ktnet.gateway.dialer import Gateway, Networks
from ktnet.host.facts import HostFacts
from ktnet.host.plan import HostPlan, plan_host
from ktnet.host.resolvconf import build_resolv_conf
from ktnet.host.resolver import survey_resolver
from ktnet.host.resolver_plan import ResolverFact, ResolverPlan, merge_search
from ktnet.host.sandbox import LINK, Sandbox
from ktnet.session.cluster import open_cluster
from ktnet.session.names import build_search, decide_names, parse_nameservers
from ktnet.session.network import open_cluster_network
from ktnet.session.options import ConnectOptions
from ktnet.session.report import Report
from ktnet.session.running import Running
from ktnet.tasks import open_tasks


@asynccontextmanager
async def open_exec_session(
    options: ConnectOptions, sandbox: Sandbox, report: Report
) -> AsyncIterator[tuple[Running, str]]:
    """Join the sandbox to the cluster until the context is left; then nothing of it remains.

    Its command may start, with that text as its /etc/resolv.conf.
    Raises a KtnetError that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(
            open_cluster(options.cluster, options.shadow.timeout_s)
        )
        network = await parts.enter_async_context(open_cluster_network(cluster, options, report))
        tunnel, services, ranges = network.tunnel, network.services, network.ranges
        fact = survey_resolver()
        reached = await api_server_addresses(cluster.api)
        plan = plan_sandbox(options, cluster.namespace, ranges, fact, reached)
        for text in (services.warning, *ranges.warnings, *plan.warnings):
            if text:
                report.note(text)
        networks = Networks(plan.routes)
        datagrams = await parts.enter_async_context(open_datagrams(networks))
        gateway = Gateway(networks, tunnel)
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

        async def watch() -> None:
            async with open_tasks() as tasks:
                tasks.create_task(capture.wait_lost(), name="watch the TUN")
                await tunnel.watch()

        running = Running(
            tunnel=tunnel,
            connections=capture,
            describe_own=lambda: {
                "routes": [str(network) for network in plan.routes],
                "dns": asdict(proxy.counters),
            },
            watch=watch,
            describe_end=tunnel.describe_end,
            describe_queries=proxy.describe_recent,
        )
        yield running, build_resolv_conf(plan.resolver, ())


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
