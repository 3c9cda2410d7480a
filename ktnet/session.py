"""The wiring diagram: opens the parts in order, hands each what it needs, undoes in reverse.

    cluster: shadow pod, ranges, Services ─┐
    host: facts, TUN, DNS sockets ─────────┤
    link: SSH through the port-forward ────┼─► capture: TUN <-> flows of the link
                                           └─► dns: cluster names to the link, others as before

and then one probe through TUN and tunnel; only after that routes and resolver are changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any, Literal, Protocol

from ktnet.capture.engine import Capture, open_capture
from ktnet.capture.probe import PROBE_PORT, probe
from ktnet.cluster.api import Api, open_api
from ktnet.cluster.cidrs import ClusterRanges, api_server_addresses, find_cluster_ranges
from ktnet.cluster.config import load_target
from ktnet.cluster.services import ServiceIndex, open_service_index
from ktnet.cluster.session import ShadowSession, ShadowSpec, open_shadow_session
from ktnet.dns.policy import Policy, build_policy
from ktnet.dns.proxy import Proxy, open_proxy
from ktnet.errors import HostKeyMismatch
from ktnet.host.client import Host, open_host
from ktnet.host.plan import HostFacts, HostPlan, plan_host
from ktnet.link.connection import Link, open_link
from ktnet.link.keys import ClientKey, new_client_key
from ktnet.tasks import open_tasks
from ktnet.wire.shadow import PROBE_HOST

PROBE_TIMEOUT_S = 10.0
"""The way takes milliseconds; but a busy machine, or a first SYN that was lost and is repeated
after a second, is no failure."""


@dataclass(frozen=True)
class ConnectOptions:
    """What the user asked for; None where it is to be found out."""

    namespace: str | None
    context: str | None
    kubeconfig: str | None
    image: str | None
    image_pull_secrets: tuple[str, ...]
    include: tuple[IPv4Network, ...]
    exclude: tuple[IPv4Network, ...]
    cluster_domain: str
    dns_include: tuple[str, ...]
    dns_exclude: tuple[str, ...]
    via: Literal["port-forward", "direct"]
    idle_s: int
    timeout_s: float


class Report(Protocol):
    """Where a session says how far it is."""

    def step(self, name: str, detail: str) -> None:
        """A step is done."""

    def waiting(self, detail: str) -> None:
        """What the step under way is waiting for."""

    def note(self, text: str) -> None:
        """Something that the user should know, though it stops nothing."""


@dataclass(frozen=True)
class Session:
    """A machine that is joined to a cluster."""

    context: str
    host: Host
    shadow: ShadowSession
    link: Link
    capture: Capture
    names: Proxy
    plan: HostPlan

    async def watch(self) -> None:
        """Waits until a part is lost; raises what became of it."""
        async with open_tasks() as tasks:
            tasks.create_task(self.host.run_watch(), name="watch the helper")
            tasks.create_task(self.capture.wait_lost(), name="watch the TUN")
            raise await self.link.wait_closed()

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self.shadow.is_gone:
            return "this machine and the cluster are as they were"
        return f"this machine is as it was; {self.shadow.name} in the cluster ends by itself"

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        return {
            "namespace": self.shadow.spec.namespace,
            "context": self.context,
            "session": self.shadow.name,
            "pod": self.shadow.pod.name,
            "via": self.shadow.spec.via,
            "link": self.plan.link.name,
            "routes": [str(network) for network in self.plan.routes],
            "flows": asdict(self.capture.counters),
            "dns": asdict(self.names.counters),
        }

    async def explain_name(self, name: str, qtype: int) -> dict[str, Any]:
        """How this machine's names are decided and answered, for `ktnet dns`."""
        resolver = self.plan.resolver
        tries = await self.names.explain(name, qtype, resolver.search if resolver else ())
        return {"tries": [{**asdict(each), "answer": each.answer.hex()} for each in tries]}


@asynccontextmanager
async def open_session(options: ConnectOptions, report: Report) -> AsyncIterator[Session]:
    """Joins this machine to the cluster until the context is left; then nothing of it remains.

    Raises a KtnetError that says which part failed, everything undone.
    """
    async with AsyncExitStack() as parts:
        target = await load_target(options.kubeconfig, options.context)
        namespace = options.namespace or target.namespace
        host = await parts.enter_async_context(open_host())
        api = await parts.enter_async_context(open_api(target))
        services = await parts.enter_async_context(open_service_index(api, namespace))
        # Inside what they use: they have to be over before the connections of `api` are closed.
        tasks = await parts.enter_async_context(open_tasks())
        finding_ranges = tasks.create_task(find_cluster_ranges(api, namespace))
        report.step("cluster", f"{target.server}, namespace {namespace}")

        key, public_key = new_client_key()
        spec = build_spec(options, namespace, public_key)
        shadow = await parts.enter_async_context(open_shadow_session(api, spec, report.waiting))
        report.step("shadow", f"{shadow.pod.name} runs {spec.image}")

        link = await enter_link(parts, shadow, key)
        report.step("tunnel", f"SSH by {spec.via}, host key pinned")

        ranges = await finding_ranges
        facts = await host.facts()
        plan = await build_plan(options, api, shadow, ranges, facts)
        for text in (*facts.mended, services.warning, *ranges.warnings, *plan.warnings):
            if text:
                report.note(text)
        capture, names = await enter_capture(parts, options, host, link, services, facts, plan)
        report.step("capture", f"{', '.join(map(str, plan.routes))} into {plan.link.name}")
        yield Session(target.context, host, shadow, link, capture, names, plan)


async def enter_link(parts: AsyncExitStack, shadow: ShadowSession, key: ClientKey) -> Link:
    """Logs in to the shadow."""
    try:
        return await parts.enter_async_context(
            open_link(shadow.connector(), client_key=key, host_key=shadow.host_key)
        )
    except HostKeyMismatch:
        # Its container may have started anew, with a new key, since the log was read: look once
        # more. Whoever reads along can't change the log, so a second mismatch is final.
        await shadow.read_host_key()
        return await parts.enter_async_context(
            open_link(shadow.connector(), client_key=key, host_key=shadow.host_key)
        )


async def enter_capture(
    parts: AsyncExitStack,
    options: ConnectOptions,
    host: Host,
    link: Link,
    services: ServiceIndex,
    facts: HostFacts,
    plan: HostPlan,
) -> tuple[Capture, Proxy]:
    """Puts the TUN and the DNS proxy before the link, tries them, and changes the host."""
    opened = await host.open_link(plan)
    probed = (str(plan.link.peer), PROBE_PORT)
    capture = await parts.enter_async_context(
        open_capture(opened.tun_fd, link, local_targets={probed: (PROBE_HOST, PROBE_PORT)})
    )
    names = await parts.enter_async_context(
        open_proxy(
            opened.dns_udp,
            opened.dns_tcp,
            decide_names(options, services, facts, plan),
            link.ask,
            parse_nameservers(facts),
        )
    )
    await probe(probed[0], PROBE_TIMEOUT_S)
    # Undone before the parts that it points to go, and by the helper where we are killed.
    parts.push_async_callback(host.release)
    await host.capture(plan)
    return capture, names


def build_spec(options: ConnectOptions, namespace: str, public_key: str) -> ShadowSpec:
    """The shadow that these options ask for."""
    return ShadowSpec(
        namespace=namespace,
        image=options.image or f"ktnet-shadow:{version('ktnet')}",
        authorized_key=public_key,
        via=options.via,
        image_pull_secrets=options.image_pull_secrets,
        idle_s=options.idle_s,
        timeout_s=options.timeout_s,
    )


async def build_plan(
    options: ConnectOptions,
    api: Api,
    shadow: ShadowSession,
    ranges: ClusterRanges,
    facts: HostFacts,
) -> HostPlan:
    """What of this host's network shall change. The tunnel's own path is never captured."""
    excluded: list[IPv4Network | IPv4Address] = [
        *options.exclude,
        *await api_server_addresses(api),
    ]
    if options.via == "direct":
        excluded.append(IPv4Address(shadow.pod.ip))
    domain = options.cluster_domain
    return plan_host(
        facts,
        (*ranges.services, *ranges.pods),
        excluded,
        # As in a pod of the namespace (https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/).
        (f"{shadow.spec.namespace}.svc.{domain}", f"svc.{domain}", domain),
        included=options.include,
    )


def parse_nameservers(facts: HostFacts) -> list[IPv4Address | IPv6Address]:
    """The servers that the host asked before, those that are addresses."""
    servers = []
    for text in facts.resolver.nameservers:
        with suppress(ValueError):
            servers.append(ip_address(text))
    return servers


def decide_names(
    options: ConnectOptions, services: ServiceIndex, facts: HostFacts, plan: HostPlan
) -> Policy:
    """Whose names are whose."""
    return build_policy(
        options.cluster_domain,
        plan.routes,
        services.find,
        include=options.dns_include,
        exclude=options.dns_exclude,
        search=facts.resolver.search,
    )
