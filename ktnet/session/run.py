"""A process of this machine as a Service of the cluster.

cluster ─► shadow, with the ports ─► listeners there, as far as something listens here ─► Service
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from ktnet.cluster.exchange.exposure import ExposedPort, Exposure, resolve_exposures
from ktnet.cluster.readiness import wait_until_ready
from ktnet.cluster.rights import list_required
from ktnet.cluster.server.review import require_rights
from ktnet.cluster.shadow.dependents import Dependent
from ktnet.cluster.shadow.manifests import ShadowPort, ShadowSpec, build_selector, build_service
from ktnet.errors import Conflict, NotFound, UsageError
from ktnet.session.cluster import Cluster, open_cluster
from ktnet.session.inbound import Inbound, open_inbound
from ktnet.session.leftovers import tidy
from ktnet.session.live import LiveRequest
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.session.report import Report
from ktnet.session.tunnel import Tunnel, build_spec, open_tunnel

ServiceType = Literal["ClusterIP", "NodePort", "LoadBalancer"]

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""RFC 1035 label: what a Service may be called."""


@dataclass(frozen=True)
class RunOptions:
    """What becomes which Service."""

    cluster: ClusterOptions
    shadow: ShadowOptions
    name: str
    exposures: tuple[Exposure, ...]
    service: bool = True
    service_type: ServiceType = "ClusterIP"


@dataclass(frozen=True)
class RunSession:
    """A Service that leads here."""

    name: str
    tunnel: Tunnel
    inbound: Inbound
    addresses: list[str]

    async def watch(self) -> None:
        """Has the tunnel come back whenever it breaks; raises what can't come back."""
        await self.tunnel.watch()

    def describe_end(self) -> str:
        """What is left of it, once it has been undone."""
        if self.tunnel.shadow.is_gone:
            return "the cluster is as it was, and this machine was never changed"
        return f"{self.tunnel.shadow.name} in the cluster ends by itself"

    def describe(self) -> dict[str, Any]:
        """Its state, for `ktnet status`."""
        return {
            **self.tunnel.describe(),
            "name": self.name,
            "addresses": self.addresses,
            **self.inbound.describe(),
        }

    async def tell_live(self, request: LiveRequest) -> dict[str, Any]:
        """What goes on, for who looks on."""
        return await self.inbound.tell_live(request)

    async def explain_name(self, _name: str, _qtype: int) -> dict[str, Any]:
        """Raises NotFound: no name of this machine is decided upon here."""
        raise NotFound("`ktnet run` doesn't touch this machine's names")


@asynccontextmanager
async def open_run_session(options: RunOptions, report: Report) -> AsyncIterator[RunSession]:
    """Serves until the context is left; then nothing of it remains.

    Raises Conflict where there is such a Service, and a KtnetError that says which part failed,
    everything undone.
    """
    ports = resolve_exposures(options.exposures, {}, ())
    if options.service and not _NAME.fullmatch(options.name):
        raise UsageError(
            f"no Service can be called {options.name!r}",
            hint="small letters, digits and -, a letter first (RFC 1035)",
        )
    async with AsyncExitStack() as parts:
        cluster = await parts.enter_async_context(open_cluster(options.cluster))
        report.step("cluster", cluster.describe())
        await tidy(cluster, report)
        spec = build_exposing_spec(options.shadow, cluster.namespace, ports)
        spec = replace(spec, command="run")
        if options.service:
            await _check_rights(cluster, spec)
            await _check_free(cluster, options.name)
        tunnel = await parts.enter_async_context(open_tunnel(cluster, spec, report))
        inbound = await parts.enter_async_context(open_inbound(tunnel, ports, report))
        # Callers are served until the shadow has sent the last of them away.
        parts.push_async_callback(tunnel.shadow.delete)
        if await inbound.is_listening():
            await inbound.prove()
            await wait_until_ready(
                cluster.api, cluster.namespace, tunnel.shadow.pod.name, spec.timeout_s
            )
        addresses = [f"{tunnel.shadow.pod.ip}:{port.remote}" for port in ports]
        if options.service:
            addresses = await _make_service(options, tunnel, spec) + addresses
        for address in addresses:
            report.step("address", address)
        yield RunSession(options.name, tunnel, inbound, addresses)


def build_exposing_spec(
    options: ShadowOptions, namespace: str, ports: tuple[ExposedPort, ...]
) -> ShadowSpec:
    """A shadow with these ports."""
    shadow_ports = tuple(ShadowPort(port.remote, port.name) for port in ports)
    return replace(build_spec(options, namespace), ports=shadow_ports)


async def _check_rights(cluster: Cluster, spec: ShadowSpec) -> None:
    needed = list_required(spec.command, port_forward=spec.via == "port-forward")
    await require_rights(cluster.api, cluster.namespace, needed)


async def _check_free(cluster: Cluster, name: str) -> None:
    """Before anything is made. Raises Conflict."""
    try:
        await cluster.api.get("services", name, namespace=cluster.namespace)
    except NotFound:
        return
    raise _taken(name, cluster.namespace)


def _taken(name: str, namespace: str) -> Conflict:
    return Conflict(
        f"namespace {namespace} has a Service called {name} already, which is left alone",
        hint=f"another name, or `ktnet exchange service/{name} --mode selector`",
    )


async def _make_service(options: RunOptions, tunnel: Tunnel, spec: ShadowSpec) -> list[str]:
    """Its addresses, each "ADDRESS:PORT"."""
    session, namespace = tunnel.shadow.name, spec.namespace

    def build() -> dict[str, Any]:
        selector = build_selector(session)
        return build_service(options.name, spec, session, selector, options.service_type)

    try:
        await tunnel.shadow.dependents.add(Dependent("services", options.name, build))
    except Conflict:
        raise _taken(options.name, namespace) from None
    service = await tunnel.cluster.api.get("services", options.name, namespace=namespace)
    return list_addresses(service)


def list_addresses(service: dict[str, Any]) -> list[str]:
    """Where a Service is reached: by name, by its ClusterIP, on the nodes, from outside."""
    metadata, spec = service["metadata"], service["spec"]
    found = []
    for port in spec["ports"]:
        number = port["port"]
        found.append(f"{metadata['name']}.{metadata['namespace']}.svc:{number}")
        if spec.get("clusterIP"):
            found.append(f"{spec['clusterIP']}:{number}")
        if port.get("nodePort"):
            found.append(f"port {port['nodePort']} of each node")
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    outside = [each.get("ip") or each.get("hostname") for each in ingress]
    found += [f"{address}:{port['port']}" for address in outside for port in spec["ports"]]
    if spec.get("type") == "LoadBalancer" and not outside:
        found.append(f"an outside address is yet to come: kubectl get service {metadata['name']}")
    return found
