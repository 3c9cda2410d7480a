"""ClusterIPs and node ports: given to Services from ranges. Pure but for the dice.

kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-assignment; messages from
pkg/registry/core/service/{ipallocator,portallocator,storage}.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address

from ktnet.lab.api.errors import ApiError, Obj, invalid
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.service import list_addresses

NODE_PORTS = range(30000, 32768)

LOWEST_STATIC, HIGHEST_STATIC, STATIC_STEP = 16, 256, 16
"""The lower part of a range is left to those who ask for an address (KEP-3070)."""


@dataclass(frozen=True)
class Taken:
    """What the other Services have."""

    addresses: frozenset[str]
    node_ports: frozenset[int]


def list_taken(services: Iterable[Obj]) -> Taken:
    addresses: set[str] = set()
    ports: set[int] = set()
    for service in services:
        addresses.update(list_addresses(service["spec"]))
        ports.update(
            port["nodePort"] for port in service["spec"].get("ports") or [] if "nodePort" in port
        )
    return Taken(frozenset(addresses), frozenset(ports))


def allocate(service: Obj, taken: Taken, network: IPv4Network, *, dry_run: bool) -> None:
    """Completes a Service's spec in place; raises ApiError 422 for what it can't have.

    `taken` must not count the Service itself.
    """
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    _settle_families(spec)
    addresses = list_addresses(spec)
    if addresses[:1] == ["None"]:
        spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
    elif addresses and addresses[0]:
        _check_address(service, addresses, taken, network, dry_run=dry_run)
        spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses
    else:
        address = _pick_address(taken, network, dry_run=dry_run)
        spec["clusterIP"], spec["clusterIPs"] = address, [address]
    if spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts"):
        _give_node_ports(service, taken)


def _settle_families(spec: Obj) -> None:
    headless = list_addresses(spec)[:1] == ["None"]
    if headless and not spec.get("selector"):
        # Nobody but the user knows which addresses its endpoints will have.
        spec.setdefault("ipFamilyPolicy", "RequireDualStack")
        both = ["IPv4", "IPv6"] if spec["ipFamilyPolicy"] != "SingleStack" else ["IPv4"]
        spec.setdefault("ipFamilies", both)
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _check_address(
    service: Obj, wanted: list[str], taken: Taken, network: IPv4Network, *, dry_run: bool
) -> None:
    address = ip_address(wanted[0])
    usable = isinstance(address, IPv4Address) and network[0] < address < network[-1]
    check = FieldCheck()
    if not isinstance(address, IPv4Address):
        check.invalid("spec.clusterIPs[0]", wanted, "IPv6 is not configured on this cluster")
    elif not usable and dry_run:
        # Only the allocator that dry runs ask knows its range: the real one searches all
        # ServiceCIDRs for the address and can only say that there is none.
        why = (
            f"the provided IP ({address}) is not in the valid range. "
            f"The range of valid IPs is {network}"
        )
        check.invalid("spec.clusterIPs", wanted, f"failed to allocate IP {address}: {why}")
    elif not usable:
        why = "the provided network does not match the current range"
        check.invalid("spec.clusterIPs", wanted, f"failed to allocate IP {address}: {why}")
    elif wanted[0] in taken.addresses and not dry_run:
        why = "provided IP is already allocated"
        check.invalid("spec.clusterIPs", wanted, f"failed to allocate IP {address}: {why}")
    if check.causes:
        raise invalid("", "Service", service["metadata"]["name"], check.causes)


def _pick_address(taken: Taken, network: IPv4Network, *, dry_run: bool) -> str:
    if dry_run:
        # "Don't bother finding a free value": a real API server answers with the range's first.
        return str(network[0])
    usable = network.num_addresses - 2
    static = min(max(LOWEST_STATIC, network.num_addresses // STATIC_STEP), HIGHEST_STATIC)
    offset = 1 + static if usable > static else 1
    for first, last in ((offset, usable), (1, offset - 1)):
        count = last - first + 1
        start = random.randrange(count) if count > 0 else 0  # noqa: S311
        for step in range(count):
            address = str(network[first + (start + step) % count])
            if address not in taken.addresses:
                return address
    raise ApiError(
        500,
        "InternalError",
        "Internal error occurred: failed to allocate a serviceIP: range is full",
        {"causes": [{"message": "failed to allocate a serviceIP: range is full"}]},
    )


def _give_node_ports(service: Obj, taken: Taken) -> None:
    used = set(taken.node_ports)
    ports = service["spec"].get("ports") or []
    used.update(port["nodePort"] for port in ports if "nodePort" in port)
    check = FieldCheck()
    for index, port in enumerate(ports):
        number = port.get("nodePort")
        at = f"spec.ports[{index}].nodePort"
        if number is None:
            port["nodePort"] = random.choice([n for n in NODE_PORTS if n not in used])  # noqa: S311
            used.add(port["nodePort"])
        elif number in taken.node_ports:
            check.invalid(at, number, "provided port is already allocated")
        elif number not in NODE_PORTS:
            check.invalid(
                at,
                number,
                "provided port is not in the valid range. The range of valid ports is "
                f"{NODE_PORTS[0]}-{NODE_PORTS[-1]}",
            )
    if check.causes:
        raise invalid("", "Service", service["metadata"]["name"], check.causes)
