"""Which addresses are the cluster's: of its Services, of its pods, and of its API server.

Every range comes with where it was learnt, and what could not be learnt is said; nothing is
remembered from one session to the next.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.api import Api
from ktnet.errors import ClusterUnreachable, Forbidden, NotFound
from ktnet.tasks import open_tasks

Json = dict[str, Any]

_NOBODYS_ADDRESS = "192.0.2.1"
"""Of TEST-NET-1 (RFC 5737): in no cluster's range, so that the API server must refuse it."""

_VALID_RANGE = re.compile(r"range of valid IPs is (?:CIDR )?(?P<ranges>[0-9A-Fa-f.:/, ]+)")

_GUESS_PREFIX = 24
"""What is taken around a pod address where nothing better is known: the block that a node has by
default (kube-controller-manager's --node-cidr-mask-size)."""

_GUESS_PREFIX6 = 64
"""The same for IPv6 (--node-cidr-mask-size-ipv6)."""

_SAMPLE = 500
"""Pods that are looked at: enough to see which networks their addresses come from."""


@dataclass(frozen=True, slots=True)
class ClusterRanges:
    """The networks of a cluster: of Services and pods the IPv4 ones, and `ipv6` of both."""

    services: tuple[IPv4Network, ...]
    pods: tuple[IPv4Network, ...]
    evidence: tuple[str, ...]
    """Where each of them was learnt."""
    warnings: tuple[str, ...]
    """What could not be learnt, and what that means for the user."""
    ipv6: tuple[IPv6Network, ...] = ()


async def find_cluster_ranges(api: Api, namespace: str, *, pod_ips: bool = True) -> ClusterRanges:
    """The cluster's ranges, as well as our rights allow; `namespace` is where we have most.

    Without `pod_ips` nobody asks for those of pods. Raises only ClusterUnreachable.
    """
    of_services, of_pods = _Notes([], [], []), _Notes([], [], [])
    async with open_tasks() as tasks:
        services = tasks.create_task(_find_service_ranges(api, namespace, of_services))
        finding_pods = _find_pod_ranges(api, namespace, of_pods) if pod_ips else _find_none()
        pods = tasks.create_task(finding_pods)
        found = await services, await pods
    return ClusterRanges(
        *found,
        ipv6=tuple(sorted({*of_services.ipv6, *of_pods.ipv6})),
        evidence=(*of_services.evidence, *of_pods.evidence),
        warnings=(*of_services.warnings, *of_pods.warnings),
    )


async def _find_none() -> tuple[IPv4Network, ...]:
    return ()


async def api_server_addresses(api: Api) -> tuple[IPv4Address, ...]:
    """Where the API server (or the proxy before it) is: our own tunnel runs there.

    Raises ClusterUnreachable where its name does not resolve.
    """
    try:
        return tuple(map(IPv4Address, await _resolve(api, socket.AF_INET)))
    except OSError as error:
        host = _way_there(api).hostname or ""
        if _is_ipv6(host):
            return ()
        raise ClusterUnreachable(
            f"the API server's name {host} does not resolve: {error}"
        ) from error


async def api_server_addresses6(api: Api) -> tuple[IPv6Address, ...]:
    """The same for IPv6, which the API server need not have."""
    try:
        return tuple(map(IPv6Address, await _resolve(api, socket.AF_INET6)))
    except (OSError, ValueError):
        return ()


async def _resolve(api: Api, family: socket.AddressFamily) -> list[str]:
    url = _way_there(api)
    found = await asyncio.get_running_loop().getaddrinfo(
        url.hostname or "", url.port or 443, family=family, type=socket.SOCK_STREAM
    )
    return sorted({str(address[0]) for *_, address in found})


def _way_there(api: Api) -> SplitResult:
    return urlsplit(api.target.access.proxy or api.target.server)


@dataclass(frozen=True, slots=True)
class _Notes:
    evidence: list[str]
    warnings: list[str]
    ipv6: list[IPv6Network]


async def _find_service_ranges(api: Api, namespace: str, notes: _Notes) -> tuple[IPv4Network, ...]:
    try:
        listing = await api.list_all("servicecidrs")
    except (Forbidden, NotFound):  # NotFound: before Kubernetes 1.33 (or 1.31, where enabled)
        listing = {"items": []}
    texts = [cidr for item in listing["items"] for cidr in _dig_list(item, "spec", "cidrs")]
    notes.ipv6.extend(_take6(texts))
    if found := _take(texts):
        notes.evidence.append(f"Services {_join(found)}: ServiceCIDR objects")
        return found
    texts = parse_valid_ranges(await _provoke_refusal(api, namespace))
    notes.ipv6.extend(_take6(texts))
    if found := _take(texts):
        notes.evidence.append(f"Services {_join(found)}: named by the API server in a refusal")
        return found
    notes.warnings.append(
        "the range of ClusterIPs is not known (it takes the right to list servicecidrs or to "
        "create services): name it with --include"
    )
    return ()


async def _provoke_refusal(api: Api, namespace: str) -> str:
    """What the API server says to a Service with an impossible ClusterIP; nothing is created."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"generateName": "ktnet-probe-"},
        "spec": {"clusterIP": _NOBODYS_ADDRESS, "ports": [{"port": 80}]},
    }
    try:
        await api.create("services", service, namespace=namespace, dry_run=True)
    except Refused as error:
        return error.message
    except (Forbidden, NotFound):
        pass
    return ""


def parse_valid_ranges(message: str) -> list[str]:
    """The ranges that an API server names when it refuses a ClusterIP; empty where it names none.

    "... the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is
    10.96.0.0/12" (kubernetes/kubernetes, pkg/registry/core/service/ipallocator, ErrNotInRange);
    the words before the last sentence have changed over the years.
    """
    match = _VALID_RANGE.search(message)
    if match is None:
        return []
    return [text.rstrip(".") for text in re.split(r"[, ]+", match["ranges"]) if "/" in text]


async def _find_pod_ranges(api: Api, namespace: str, notes: _Notes) -> tuple[IPv4Network, ...]:
    texts: list[Any] = []
    may_see_nodes = True
    try:
        listing = await api.list_all("nodes", keep=lambda node: {"spec": node.get("spec")})
        for node in listing["items"]:
            texts += _dig_list(node, "spec", "podCIDRs") or [_dig(node, "spec", "podCIDR")]
    except Forbidden:
        may_see_nodes = False
    found = _take(texts)
    notes.ipv6.extend(_take6(texts))
    if found:
        notes.evidence.append(f"pods {_join(found)}: podCIDRs of the nodes")
    addresses = await _list_pod_addresses(api, namespace)
    guessed = guess_networks(addresses, found)
    notes.ipv6.extend(guess_networks6(addresses, notes.ipv6))
    if guessed:
        notes.evidence.append(f"pods {_join(guessed)}: around addresses of pods")
    if not found:
        why = "no node names a podCIDR" if may_see_nodes else "no right to list nodes"
        what = f"only {_join(guessed)} are captured" if guessed else "none are captured"
        notes.warnings.append(f"{why}: of pod addresses {what}; name others with --include")
    return _collapse([*found, *guessed])


async def _list_pod_addresses(api: Api, namespace: str) -> list[str]:
    """Addresses of the pods that we may see, but for those on their node's own network."""
    pods: list[Json] = []
    for scope in (None, namespace):
        try:
            pods = (await api.list_all("pods", namespace=scope, at_most=_SAMPLE))["items"]
            break
        except Forbidden:
            continue
    return [
        address
        for pod in pods
        if not _dig(pod, "spec", "hostNetwork")
        for address in _addresses_of(pod)
    ]


def _addresses_of(pod: Json) -> list[str]:
    """One a family."""
    several = [_dig(each, "ip") for each in _dig_list(pod, "status", "podIPs")]
    return [str(text) for text in several or [_dig(pod, "status", "podIP")] if text]


def guess_networks(
    addresses: Iterable[str], known: Iterable[IPv4Network]
) -> tuple[IPv4Network, ...]:
    """Networks for those pod addresses that the known ones don't hold."""
    known = tuple(known)
    outside = [
        address
        for text in addresses
        if (address := _parse_address(text)) and not any(address in network for network in known)
    ]
    return _collapse(IPv4Network((address, _GUESS_PREFIX), strict=False) for address in outside)


def guess_networks6(
    addresses: Iterable[str], known: Iterable[IPv6Network]
) -> tuple[IPv6Network, ...]:
    """The same for IPv6."""
    known = tuple(known)
    found = set()
    for text in addresses:
        with suppress(ValueError):
            address = IPv6Address(text)
            if not any(address in network for network in known):
                found.add(IPv6Network((address, _GUESS_PREFIX6), strict=False))
    return tuple(sorted(found))


def _dig(obj: Any, *keys: str) -> Any:
    """What is there, or None: for objects that may have any shape."""
    for key in keys:
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj


def _dig_list(obj: Any, *keys: str) -> list[Any]:
    found = _dig(obj, *keys)
    return found if isinstance(found, list) else []


def _take(texts: Iterable[Any]) -> tuple[IPv4Network, ...]:
    """The IPv4 networks among these."""
    networks = []
    for text in texts:
        try:
            # As text: for a number, ip_network would make up an address.
            network = ip_network(str(text), strict=False)
        except ValueError:
            continue
        # Nothing sane is wider than /8, and capturing everything would cut this machine off.
        if isinstance(network, IPv4Network) and network.prefixlen >= 8:
            networks.append(network)
    return _collapse(networks)


def _take6(texts: Iterable[Any]) -> tuple[IPv6Network, ...]:
    """The IPv6 networks among these."""
    networks = []
    for text in texts:
        with suppress(ValueError):
            networks.append(IPv6Network(str(text), strict=False))
    return tuple(collapse_addresses(networks))


def _collapse(networks: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    return tuple(collapse_addresses(networks))


def _parse_address(text: str) -> IPv4Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address if isinstance(address, IPv4Address) else None


def _is_ipv6(host: str) -> bool:
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def _join(networks: Iterable[IPv4Network]) -> str:
    return ", ".join(map(str, networks))
