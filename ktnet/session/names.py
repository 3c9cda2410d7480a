"""Names of a joined machine: how it comes to ask the proxy, and that it stays so.

cluster.services: namespaces come and go ──┐
host: others change this machine's ways ───┴─► Names ──► host: file, or systemd-resolved
                                                     └─► dns: whose names are whose, whom to ask
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any

from ktnet.cluster.services import ServiceIndex
from ktnet.dns.policy import Policy, build_policy
from ktnet.dns.proxy import Proxy
from ktnet.errors import CaptureRefused
from ktnet.host.client import Host
from ktnet.host.plan import HostPlan
from ktnet.host.resolver_plan import (
    MAX_DOMAINS,
    ResolvedPlan,
    ResolverFact,
    ResolverPlan,
    build_reverse_zones,
    plan_resolver,
)
from ktnet.session.options import ConnectOptions, DnsMode
from ktnet.session.report import Report
from ktnet.tasks import open_tasks

_GATHER_S = 0.2
"""Namespaces are made with much in them: what comes together is told together."""

_RESOLVED_TTL_S = 1
"""systemd-resolved remembers for as long as an answer says, and up to then a Service that has just
been made, or scaled, would not be seen; asking the proxy again costs next to nothing."""


class Names:
    """The names of one session."""

    def __init__(
        self,
        options: ConnectOptions,
        namespace: str,
        host: Host,
        services: ServiceIndex,
        proxy: Proxy,
        report: Report,
        *,
        plan: HostPlan,
        fact: ResolverFact,
    ) -> None:
        self.plan = plan
        self.added: tuple[IPv4Network, ...] = ()
        """Captured beside what was planned."""
        self._options = options
        self._namespace = namespace
        self._host = host
        self._services = services
        self._proxy = proxy
        self._report = report
        self._fact = fact
        self._known = services.namespaces
        self._changing = asyncio.Lock()
        self._flushed = asyncio.Event()

    async def apply(self) -> None:
        """Change this machine as planned. Raises HostNetworkError, DnsError, Conflict."""
        resolved = isinstance(self.plan.resolver, ResolvedPlan)
        self._proxy.limit_cluster_ttls(_RESOLVED_TTL_S if resolved else None)
        await self._host.capture(self.plan)
        self._report.step("names", describe_way(self.plan, self._fact))
        self._warn_of_too_many()

    async def use_routes(self, routes: tuple[IPv4Network, ...]) -> None:
        """Capture other networks from now on. Raises what `apply` does."""
        async with self._changing:
            await self._use_routes((*routes, *self.added))

    async def add_routes(self, routes: tuple[IPv4Network, ...]) -> None:
        """Capture these too, also when others are planned. Raises what `apply` does, and
        CaptureRefused: then nothing has changed."""
        async with self._changing:
            plan = self.plan
            try:
                await self._use_routes((*plan.routes, *routes))
            except CaptureRefused:
                await self._use_routes(plan.routes)
                raise
            self.added += routes

    async def _use_routes(self, routes: tuple[IPv4Network, ...]) -> None:
        self.plan = replace(self.plan, routes=tuple(dict.fromkeys(routes)))
        self._proxy.policy = decide_names(self._options, self._services, self._fact, self.plan)
        await self._change()

    def flush(self) -> None:
        """Forget what was answered: who answers may be another one, or answer again."""
        self._proxy.flush()
        self._flushed.set()

    async def run(self) -> None:
        """Keep it so, until cancelled. Raises what `apply` does."""
        async with open_tasks() as tasks:
            tasks.create_task(self._follow_namespaces(), name="namespaces")
            tasks.create_task(self._follow_flushes(), name="flushes")
            await self._follow_machine()

    async def _follow_namespaces(self) -> None:
        while True:
            await self._services.wait_for_other_namespaces(self._known)
            await asyncio.sleep(_GATHER_S)
            async with self._changing:
                self._known = self._services.namespaces
                if isinstance(self.plan.resolver, ResolvedPlan):
                    await self._change()

    async def _follow_flushes(self) -> None:
        """systemd-resolved remembers failures too; it forgets them when it is told anew."""
        while True:
            await self._flushed.wait()
            self._flushed.clear()
            async with self._changing:
                if isinstance(self.plan.resolver, ResolvedPlan):
                    await self._change()

    async def _follow_machine(self) -> None:
        while True:
            fact = await self._host.next_resolver()
            async with self._changing:
                await self._heed(fact)

    async def _heed(self, fact: ResolverFact) -> None:
        own = self.plan.link.address
        former, servers = (
            [server for server in parse_nameservers(each) if server != own]
            for each in (self._fact, fact)
        )
        self._fact = fact
        if servers != former:
            self._proxy.use_upstreams(servers)
            named = ", ".join(map(str, servers)) or "nobody"
            self._report.note(f"outside names are asked of {named} from now on")
        self._proxy.policy = decide_names(self._options, self._services, fact, self.plan)
        if isinstance(self.plan.resolver, ResolverPlan):
            await self._change()

    async def _change(self) -> None:
        routing = build_routing(self._options, self._namespace, self._known)
        resolver = plan_resolver(
            self._fact,
            self.plan.link.address,
            build_search(self._options, self._namespace),
            (*build_reverse_zones(self.plan.routes), *routing),
            mode=self._mode,
        )
        self.plan = replace(self.plan, resolver=resolver)
        await self._host.capture(self.plan)
        self._warn_of_too_many()

    def _warn_of_too_many(self) -> None:
        resolver = self.plan.resolver
        if isinstance(resolver, ResolvedPlan):
            left_out = self._known - set(resolver.routing) - set(resolver.search)
            if left_out:
                self._report.note(
                    f"systemd-resolved takes {MAX_DOMAINS} domains: the Services of"
                    f" {len(left_out)} namespaces resolve only with the cluster's domain"
                )

    @property
    def _mode(self) -> DnsMode:
        """What "auto" has come to."""
        if self.plan.resolver is None:
            return "off"
        return "resolved" if isinstance(self.plan.resolver, ResolvedPlan) else "resolvconf"

    def describe(self) -> dict[str, Any]:
        """For `ktnet status`."""
        resolver = self.plan.resolver
        return {
            "dns_mode": self._mode,
            "nameserver": str(self.plan.link.address),
            "search": list(resolver.search) if resolver else [],
        }


def describe_way(plan: HostPlan, fact: ResolverFact) -> str:
    """How names come to the proxy, for the user. Pure."""
    address = plan.link.address
    match plan.resolver:
        case ResolvedPlan():
            return f"systemd-resolved asks {address} for the cluster's, others as before"
        case ResolverPlan():
            whose = f" (written by {fact.manager})" if fact.manager else ""
            return f"/etc/resolv.conf{whose} names {address}, and is put back at the end"
        case None:
            return f"this machine's resolver is left as it is; {address} answers"


def build_search(options: ConnectOptions, namespace: str) -> tuple[str, ...]:
    """The search domains of a pod of the namespace. Pure.

    https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
    """
    domain = options.cluster_domain
    return f"{namespace}.svc.{domain}", f"svc.{domain}", domain


def build_routing(
    options: ConnectOptions, namespace: str, namespaces: Iterable[str]
) -> tuple[str, ...]:
    """The domains under which names may be the cluster's, our own namespace's first. Pure.

    For systemd-resolved, which sends a name by its end alone: `ktnet.dns.policy` sends on what is
    no Service's.
    """
    others = sorted(set(namespaces) - {namespace})
    return options.cluster_domain, "svc", *options.dns_include, namespace, *others


def parse_nameservers(fact: ResolverFact) -> list[IPv4Address | IPv6Address]:
    """The servers that the host asked before, those that are addresses."""
    servers = []
    for text in fact.nameservers:
        with suppress(ValueError):
            servers.append(ip_address(text))
    return servers


def decide_names(
    options: ConnectOptions, services: ServiceIndex, fact: ResolverFact, plan: HostPlan
) -> Policy:
    """Whose names are whose."""
    return build_policy(
        options.cluster_domain,
        plan.routes,
        services.find,
        include=options.dns_include,
        exclude=options.dns_exclude,
        search=fact.search,
    )
