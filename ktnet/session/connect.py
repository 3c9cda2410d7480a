"""A machine joined to a cluster: capture and names put before a tunnel.

    network: tunnel, ranges, Services ─────┬─► capture: TUN <-> flows through the tunnel
    host: facts, TUN, DNS sockets ─────────┴─► dns: cluster names to the tunnel, others as before

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
from ktnet.cluster.cidrs import api_server_addresses, api_server_addresses6
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
from ktnet.session.names import (
    Names,
    build_routing,
    build_search,
    decide_names,
    parse_nameservers,
)
from ktnet.session.network import ClusterNetwork, open_cluster_network
from ktnet.session.options import ConnectOptions
from ktnet.session.report import Report
from ktnet.session.running import Running
from ktnet.session.state import WITHOUT_ICMP
from ktnet.session.tunnel import Tunnel
from ktnet.tasks import open_tasks
from ktnet.wire.shadow import PROBE_HOST

PROBE_TIMEOUT_S = 10.0
"""The way takes milliseconds; but a busy machine, or a first SYN that was lost and is repeated
after a second, is no failure."""


@dataclass
class JoinedMachine:
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
            "link": self.plan.link.name,
            "routes": [str(network) for network in self.plan.routes],
            "added": [str(network) for network in self.names.added],
            "icmp_errors": self.capture.icmp_errors,
            "unreachable": [str(network) for network in self.plan.unreachable],
            **self.names.describe(),
            "dns": asdict(self.proxy.counters),
        }

    async def explain_name(self, name: str, qtype: int) -> dict[str, Any]:
        """How this machine's names are decided and answered, for `ktnet dns`."""
        resolver = self.plan.resolver
        tries = await self.proxy.explain(name, qtype, resolver.search if resolver else ())
        return {"tries": [{**asdict(each), "answer": each.answer.hex()} for each in tries]}


@asynccontextmanager
async def open_session(
    options: ConnectOptions, report: Report, helper: Started | None = None
) -> AsyncIterator[Running]:
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
        network = await parts.enter_async_context(open_cluster_network(cluster, options, report))
        tunnel, services = network.tunnel, network.services
        facts = await host.facts()
        plan = await build_plan(options, network, facts)
        for text in (
            *found.mended,
            *facts.mended,
            services.warning,
            *network.ranges.warnings,
            *plan.warnings,
        ):
            if text:
                report.note(text)
        capture, proxy = await enter_capture(parts, options, host, network, facts, plan)
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
        machine = JoinedMachine(
            *(host, tunnel, capture, proxy, names, additions),
            lambda: build_plan(options, network, facts),
        )
        tunnel.keeper.on_return.append(names.flush)
        if options.shadow.via == "direct":
            tunnel.keeper.before_dial = machine.leave_way_free
        yield Running(
            tunnel=tunnel,
            connections=capture,
            describe_own=machine.describe,
            watch=machine.watch,
            describe_end=machine.describe_end,
            describe_queries=proxy.describe_recent,
            explain_name=machine.explain_name,
        )


async def enter_capture(
    parts: AsyncExitStack,
    options: ConnectOptions,
    host: Host,
    network: ClusterNetwork,
    facts: HostFacts,
    plan: HostPlan,
) -> tuple[Capture, Proxy]:
    """Puts the TUN and the DNS proxy before the tunnel, and tries them."""
    opened = await host.open_link(plan)
    probed = (str(plan.link.peer), PROBE_PORT)
    capture = await parts.enter_async_context(
        open_capture(
            opened.tun_fd, network.tunnel, local_targets={probed: (PROBE_HOST, PROBE_PORT)}
        )
    )
    proxy = await parts.enter_async_context(
        open_proxy(
            opened.dns_udp,
            opened.dns_tcp,
            decide_names(options, network.services, facts.resolver, plan),
            network.tunnel.ask,
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
    options: ConnectOptions, network: ClusterNetwork, facts: HostFacts
) -> HostPlan:
    """What of this host's network shall change. The tunnel's own path is never captured."""
    tunnel, ranges = network.tunnel, network.ranges
    namespace = tunnel.cluster.namespace
    return plan_host(
        facts,
        (*ranges.services, *ranges.pods),
        await never_captured(options, tunnel),
        build_search(options, namespace),
        routing=build_routing(options, namespace, network.services.namespaces),
        mode=options.dns_mode,
        included=options.include,
        ipv6=ranges.ipv6,
        excluded6=await api_server_addresses6(tunnel.cluster.api),
    )
