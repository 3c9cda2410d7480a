"""A process of this machine as a Service of the cluster.

cluster ─► shadow, with the ports ─► listeners there, as far as something listens here ─► Service
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from ktnet.cluster.exchange.exposure import Exposure, resolve_exposures
from ktnet.cluster.rights import list_required
from ktnet.cluster.server.review import require_rights
from ktnet.cluster.shadow.dependents import Dependent
from ktnet.cluster.shadow.manifests import ShadowSpec, build_selector, build_service
from ktnet.errors import Conflict, NotFound, UsageError
from ktnet.session.cluster import Cluster, open_cluster
from ktnet.session.inbound import build_exposing_spec, open_exposing_tunnel
from ktnet.session.leftovers import tidy
from ktnet.session.options import ClusterOptions, ShadowOptions
from ktnet.session.report import Report
from ktnet.session.running import Running
from ktnet.session.tunnel import Tunnel

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


@asynccontextmanager
async def open_run_session(options: RunOptions, report: Report) -> AsyncIterator[Running]:
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
    async with open_cluster(options.cluster) as cluster:
        report.step("cluster", cluster.describe())
        await tidy(cluster, report)
        spec = build_exposing_spec(options.shadow, cluster.namespace, ports, "run")
        if options.service:
            await _check_rights(cluster, spec)
            await _check_free(cluster, options.name)
        async with open_exposing_tunnel(cluster, spec, ports, report) as inbound:
            tunnel = inbound.tunnel
            addresses = [f"{tunnel.shadow.pod.ip}:{port.remote}" for port in ports]
            if options.service:
                addresses = await _make_service(options, tunnel, spec) + addresses
            for address in addresses:
                report.step("address", address)
            yield Running(
                tunnel=tunnel,
                connections=inbound.ledger,
                describe_own=lambda: {
                    "name": options.name,
                    "addresses": addresses,
                    "exposed": inbound.describe(),
                },
                watch=tunnel.watch,
                describe_end=tunnel.describe_end,
            )


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
