"""Services on the node: ClusterIPs as nftables rules, in the manner of kube-proxy.

    prerouting, output   ClusterIP and port known, endpoints there: DNAT to one of them, at random
    forward, output      known but without endpoints, or a port that the Service doesn't have:
                         refused; a ClusterIP that no Service has: dropped
    postrouting          a pod that reached itself through its Service, and what comes from
                         outside the pods' network: masqueraded

kubernetes.io/docs/reference/networking/virtual-ips/ and the design of kube-proxy's nftables mode
(kubernetes/enhancements, KEP 3866). `build_ruleset` is pure; `nft` takes its text in one
transaction, so no packet ever meets half of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ktnet.errors import HostNetworkError
from ktnet.lab.api.store import Store
from ktnet.lab.node.network import run_nft
from ktnet.lab.propagation import Follower

Obj = dict[str, Any]

TABLE = "ktnet_lab_services"
MASQUERADE_MARK = 0x4000
SERVICE_LABEL = "kubernetes.io/service-name"
PROTOCOLS = {"TCP": "tcp", "UDP": "udp"}


@dataclass(frozen=True)
class ServicePort:
    """One port of a Service and where it leads; no endpoints: it is refused."""

    label: str
    """Names the chain's comment: "namespace/name:port"."""
    address: str
    protocol: str
    """"tcp" or "udp"."""
    port: int
    endpoints: tuple[tuple[str, int], ...]


def list_service_ports(services: Iterable[Obj], slices: Iterable[Obj]) -> list[ServicePort]:
    """All ports of all Services that have a ClusterIP."""
    by_service: dict[tuple[str, str], list[Obj]] = {}
    for each in slices:
        name = (each["metadata"].get("labels") or {}).get(SERVICE_LABEL)
        if name is not None and each.get("addressType") == "IPv4":
            by_service.setdefault((each["metadata"]["namespace"], name), []).append(each)
    found = []
    for service in services:
        meta, spec = service["metadata"], service["spec"]
        if spec.get("type") == "ExternalName" or spec.get("clusterIP") in {None, "", "None"}:
            continue
        key = (meta["namespace"], meta["name"])
        for port in spec.get("ports") or []:
            if port.get("protocol", "TCP") not in PROTOCOLS:
                continue
            found.append(
                ServicePort(
                    label=f"{key[0]}/{key[1]}:{port.get('name') or port['port']}",
                    address=spec["clusterIP"],
                    protocol=PROTOCOLS[port.get("protocol", "TCP")],
                    port=port["port"],
                    endpoints=_find_endpoints(port, by_service.get(key, [])),
                )
            )
    return found


def _find_endpoints(port: Obj, slices: list[Obj]) -> tuple[tuple[str, int], ...]:
    """Ready endpoints of a port; where none is ready, those that still serve while they end."""
    ready: set[tuple[str, int]] = set()
    ending: set[tuple[str, int]] = set()
    for each in slices:
        for target in each.get("ports") or []:
            same = (target.get("name") or "", target.get("protocol", "TCP")) == (
                port.get("name") or "",
                port.get("protocol", "TCP"),
            )
            if not same or target.get("port") is None:
                continue
            for endpoint in each.get("endpoints") or []:
                conditions = endpoint.get("conditions") or {}
                place = (endpoint["addresses"][0], target["port"])
                if conditions.get("ready") is not False:
                    ready.add(place)
                elif conditions.get("serving") and conditions.get("terminating"):
                    ending.add(place)
    return tuple(sorted(ready or ending))


def build_ruleset(
    ports: list[ServicePort], *, service_range: IPv4Network, pod_range: IPv4Network
) -> str:
    """The whole table, as text for `nft -f -`; replaces what was there before."""
    served = [port for port in ports if port.endpoints]
    refused = [port for port in ports if not port.endpoints]
    lines = [f"table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{"]
    lines += _build_map("service_ports", served, lambda i: f"goto service_{i}")
    lines += _build_map("refused_ports", refused, lambda _: "goto refuse")
    addresses = ", ".join(sorted({port.address for port in ports}))
    lines += ["set cluster_ips {", "type ipv4_addr"]
    lines += [f"elements = {{ {addresses} }}"] if addresses else []
    lines += ["}", "chain refuse {", "reject", "}"]
    for number, port in enumerate(served):
        lines += _build_service(number, port, pod_range)
    lines += [
        "chain services {",
        "ip daddr . meta l4proto . th dport vmap @service_ports",
        "}",
        "chain check {",
        "ip daddr . meta l4proto . th dport vmap @refused_ports",
        'ip daddr @cluster_ips reject comment "no such port"',
        f'ip daddr {service_range} drop comment "no such Service"',
        "}",
        "chain prerouting {",
        "type nat hook prerouting priority dstnat; policy accept;",
        "jump services",
        "}",
        "chain output {",
        "type nat hook output priority -100; policy accept;",
        "jump services",
        "}",
        "chain forward_check {",
        "type filter hook forward priority filter - 10; policy accept;",
        "ct state new jump check",
        "}",
        "chain output_check {",
        "type filter hook output priority filter - 10; policy accept;",
        "ct state new jump check",
        "}",
        "chain postrouting {",
        "type nat hook postrouting priority srcnat; policy accept;",
        f"meta mark & {MASQUERADE_MARK:#x} == {MASQUERADE_MARK:#x} masquerade fully-random",
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _build_map(name: str, ports: list[ServicePort], verdict: Any) -> Iterator[str]:
    yield f"map {name} {{"
    yield "type ipv4_addr . inet_proto . inet_service : verdict"
    if ports:
        elements = ", ".join(
            f"{port.address} . {port.protocol} . {port.port} : {verdict(number)}"
            for number, port in enumerate(ports)
        )
        yield f"elements = {{ {elements} }}"
    yield "}"


def _build_service(number: int, port: ServicePort, pod_range: IPv4Network) -> Iterator[str]:
    mark = f"meta mark set meta mark | {MASQUERADE_MARK:#x}"
    for place, (address, target) in enumerate(port.endpoints):
        yield f"chain endpoint_{number}_{place} {{"
        yield f'ip saddr {address} {mark} comment "reached itself"'
        yield f"meta l4proto {port.protocol} dnat to {address}:{target}"
        yield "}"
    yield f"chain service_{number} {{"
    yield f'ip saddr != {pod_range} {mark} comment "{port.label}"'
    choice = ", ".join(
        f"{place} : goto endpoint_{number}_{place}" for place in range(len(port.endpoints))
    )
    yield f"numgen random mod {len(port.endpoints)} vmap {{ {choice} }}"
    yield "}"


class Proxy:
    """Keeps the node's rules as the Services are.

    Works in the network namespace of its process.
    """

    def __init__(self, store: Store, *, service_range: IPv4Network, pod_range: IPv4Network) -> None:
        self._store = store
        self._service_range = service_range
        self._pod_range = pod_range
        self._loaded: list[ServicePort] | None = None
        self._changed = asyncio.Condition()
        self._follower = Follower(store, ("services", "endpointslices"), self._refresh)

    async def run(self) -> None:
        """Until cancelled; raises HostNetworkError where nft refuses."""
        await self._refresh()
        await self._follower.run()

    async def settle(self) -> None:
        """Until the node's rules are as the API has the Services by now."""
        await self._follower.settle()

    async def wait_until(self, holds: Callable[[list[ServicePort]], bool]) -> None:
        """Until what the node has loaded is as wanted."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._loaded is not None and holds(self._loaded))

    async def _refresh(self) -> None:
        ports = list_service_ports(self._store.list("services"), self._store.list("endpointslices"))
        if ports == self._loaded:
            return
        ruleset = build_ruleset(ports, service_range=self._service_range, pod_range=self._pod_range)
        await run_nft(ruleset)
        async with self._changed:
            self._loaded = ports
            self._changed.notify_all()


async def add_service_network(
    bridge: str, *, dns_address: IPv4Address, service_range: IPv4Network
) -> None:
    """Lets the node itself be the cluster's DNS, and route packets to Services at all.

    A node has a default route, so a packet to a ClusterIP gets as far as the rules above; this
    one has none, hence a route that nothing ever really takes: the rules redirect, refuse or drop
    every packet to the range. Raises HostNetworkError.
    """
    try:
        async with AsyncIPRoute() as links:
            (index,) = await links.link_lookup(ifname=bridge)
            await links.addr("add", index=index, address=str(dns_address), prefixlen=32)
            await links.route("add", dst=str(service_range), oif=index, scope="link")
    except NetlinkError as error:
        raise HostNetworkError(f"the lab's node can't route Services: {error}") from error
