"""The node's network: a LAN with laptops on one side, the pods' bridge on the other.

    laptop-1 eth0 -- lan-1 --+                             +-- pod-3 -- eth0 of 10.244.0.3
    laptop-2 eth0 -- lan-2 --+-- lan (bridge)  pods (bridge) --+-- pod-4 -- eth0 of 10.244.0.4
                                192.168.64.1   10.244.0.1
                                192.168.64.53

A pod's address is a /32 with the node as its gateway, so that what pods say to each other, and to
Services, passes through the node's routing and its connection tracking, as with most CNI plugins.
The bridges themselves only ever carry frames between the node and one neighbour.

Nothing passes from the LAN to the cluster's addresses, even from a laptop that makes itself a
route, but to the pods in the set `direct`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ktnet.errors import HostNetworkError
from ktnet.lab.node.namespaces import inside, write_sysctl
from ktnet.lab.topology import (
    LAN,
    NODE_LAN_ADDRESS,
    NODE_POD_ADDRESS,
    NODE_POD_RANGE,
    OFFICE_DNS_ADDRESS,
    POD_RANGE,
    SERVICE_RANGE,
)

LAN_BRIDGE = "lan"
POD_BRIDGE = "pods"
TABLE = "ktnet_lab_node"

# rtnetlink(7) and include/uapi/linux/rtnetlink.h
SCOPE_LINK = 253
SCOPE_HOST = 254
TABLE_LOCAL = 255
PROTOCOL_KERNEL = 2

CONGESTION_CONTROL = "cubic"
"""A new namespace takes the host's default, which differs between machines: measurements in two
labs are to be comparable."""

PINNED = {"cc_algo": CONGESTION_CONTROL}
"""Metrics of a route whose connections use it, whatever the namespace's default is."""

FORGET_PATHS = {"net.ipv4.tcp_no_metrics_save": "1"}
"""How far a connection came is else where the next one to that address starts: one that met a full
link, or a far one, would slow down all that are measured after it (tcp_metrics, ip(8))."""

NODE_SYSCTLS = {
    **FORGET_PATHS,
    "net.ipv4.ip_forward": "1",
    # Answers of Services take another way through the node than the requests seem to.
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    # Pods reach each other over the same bridge, and yet must go on doing so through the node.
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    # A single-stack cluster: no router solicitations, no duplicate address detection.
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
}

# A link-local address appears a second late: what was there before a command and what is there
# after it would differ by something that nobody did.
LAPTOP_SYSCTLS = {**FORGET_PATHS, "net.ipv6.conf.default.addr_gen_mode": "1"}

# What containerd's CRI plugin sets in a pod by default: enable_unprivileged_ports and
# enable_unprivileged_icmp (recorded in 09-podsecurity/pod-restricted-no-sysctls-log).
POD_SYSCTLS = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
    "net.ipv4.ip_forward": "0",
}

FIREWALL = f"""
table ip {TABLE} {{
    set direct {{
        type ipv4_addr
    }}
    chain prerouting {{
        # Before connection tracking and before the DNAT of Services.
        type filter hook prerouting priority raw; policy accept;
        iifname "{LAN_BRIDGE}" ip daddr @direct accept
        iifname "{LAN_BRIDGE}" ip daddr {{ {POD_RANGE}, {SERVICE_RANGE} }} drop
    }}
}}
"""


async def build_node_network() -> None:
    """Bridges, addresses and firewall of the node, in this process's own network namespace.

    Raises HostNetworkError.
    """
    for name, value in NODE_SYSCTLS.items():
        write_sysctl(name, value)
    with contextlib.suppress(FileNotFoundError):
        # Where the kernel has br_netfilter, DNAT would happen within the bridge, which then drops
        # what goes back to where it came from: a pod could not reach itself through its Service.
        write_sysctl("net.bridge.bridge-nf-call-iptables", "0")
    pin_congestion_control()
    async with AsyncIPRoute() as links:
        with explained("build its node's network"):
            await _build_bridges(links)
    await run_nft(FIREWALL)


def pin_congestion_control() -> None:
    """Sets this namespace's default for all TCP connections, where the host lets it."""
    # Refused where the host's net.ipv4.tcp_allowed_congestion_control lacks it, which is not the
    # lab's to change; the metrics of the lab's own routes pin it there.
    with contextlib.suppress(PermissionError):
        write_sysctl("net.ipv4.tcp_congestion_control", CONGESTION_CONTROL)


async def add_pod_link(links: AsyncIPRoute, namespace: int, address: IPv4Address) -> str:
    """Connects a pod's network namespace to the node; the name of the link on the node's side.

    Raises HostNetworkError.
    """
    name = f"pod-{int(address) - int(NODE_POD_RANGE.network_address)}"
    with explained(f"connect the pod {address}"):
        await _add_pair(links, name, POD_BRIDGE, namespace)
        async with open_links(namespace) as inner:
            await _set_up_loopback(inner)
            index = await set_up(inner, "eth0")
            await inner.addr("add", index=index, address=str(address), prefixlen=32)
            gateway = str(NODE_POD_ADDRESS)
            await inner.route(
                "add", dst=f"{gateway}/32", oif=index, scope=SCOPE_LINK, metrics=PINNED
            )
            await inner.route("add", dst="default", gateway=gateway, oif=index, metrics=PINNED)
    return name


async def add_laptop_link(links: AsyncIPRoute, namespace: int, address: IPv4Address) -> str:
    """Connects a laptop's network namespace to the LAN, and to nothing else.

    The name of the link on the node's side. Raises HostNetworkError.
    """
    name = f"lan-{int(address) - int(LAN.network_address)}"
    with explained(f"connect the laptop {address}"):
        await _add_pair(links, name, LAN_BRIDGE, namespace)
        async with open_links(namespace) as inner:
            await _set_up_loopback(inner)
            await _add_neighbours(inner, await set_up(inner, "eth0"), address, LAN)
    return name


async def remove_link(links: AsyncIPRoute, name: str) -> None:
    """Removes a pair of links by the node's end; one that is gone already is no error."""
    for index in await links.link_lookup(ifname=name):
        with explained(f"remove the link {name}"):
            await links.link("del", index=index)


def open_links(namespace: int) -> AsyncIPRoute:
    """The links of another network namespace, as an async context manager."""
    with inside(namespace):
        # A netlink socket belongs to the namespace that it was made in: netlink(7).
        descriptor = _netlink_socket()
    return AsyncIPRoute(fileno=descriptor)


@contextlib.asynccontextmanager
async def open_shared_links(namespace: int | None = None) -> AsyncIterator[AsyncIPRoute]:
    """Links for several tasks to use at once: this process's, or another network namespace's."""
    async with AsyncIPRoute() if namespace is None else open_links(namespace) as links:
        # Its socket joins the event loop with the first request, and two first ones would collide.
        await links.link_lookup(ifname="lo")
        yield links


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """The kernel's refusal to do `what` becomes a HostNetworkError."""
    try:
        yield
    except NetlinkError as error:
        raise HostNetworkError(f"the lab can't {what}: {error}") from error


async def run_nft(text: str) -> None:
    """Has nft apply `text` in one transaction; raises HostNetworkError."""
    try:
        nft = await asyncio.create_subprocess_exec(
            "nft",
            "-f",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise HostNetworkError(
            "the lab's node needs nft for its firewall, and it isn't installed",
            hint="apt-get install nftables",
        ) from error
    _, complaint = await nft.communicate(text.encode())
    if nft.returncode != 0:
        raise HostNetworkError(f"nft refused the node's rules: {complaint.decode().strip()}")


async def _build_bridges(links: AsyncIPRoute) -> None:
    await _set_up_loopback(links)
    index = await add_bridge(links, LAN_BRIDGE)
    await _add_neighbours(links, index, NODE_LAN_ADDRESS, LAN)
    await links.addr("add", index=index, address=str(OFFICE_DNS_ADDRESS), prefixlen=32)
    index = await add_bridge(links, POD_BRIDGE)
    await _add_neighbours(links, index, NODE_POD_ADDRESS, NODE_POD_RANGE)


async def set_up(links: AsyncIPRoute, name: str) -> int:
    """Sets a link up; its index."""
    (index,) = await links.link_lookup(ifname=name)
    await links.link("set", index=index, state="up")
    return int(index)


async def _set_up_loopback(links: AsyncIPRoute) -> None:
    index = await set_up(links, "lo")
    await links.route(
        "replace",
        dst="127.0.0.1/32",
        prefsrc="127.0.0.1",
        oif=index,
        type="local",
        table=TABLE_LOCAL,
        proto=PROTOCOL_KERNEL,
        scope=SCOPE_HOST,
        metrics=PINNED,
    )


async def add_bridge(links: AsyncIPRoute, name: str) -> int:
    """A bridge with a hardware address of its own, up; its index.

    One that is given none has its lowest port's, so that it would change with its ports, and
    neighbours remember the old one.
    """
    await links.link("add", ifname=name, kind="bridge", address=_draw_hardware_address())
    return await set_up(links, name)


def _draw_hardware_address() -> str:
    """Locally administered, of one station (IEEE 802: the two lowest bits of the first byte)."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *secrets.token_bytes(5)))


async def _add_neighbours(
    links: AsyncIPRoute, index: int, address: IPv4Address, network: IPv4Network
) -> None:
    """Gives a link an address in a network that is directly on it."""
    await links.addr("add", index=index, address=str(address), prefixlen=network.prefixlen)
    await links.route(
        "replace",
        dst=str(network),
        prefsrc=str(address),
        oif=index,
        proto=PROTOCOL_KERNEL,
        scope=SCOPE_LINK,
        metrics=PINNED,
    )


async def _add_pair(links: AsyncIPRoute, name: str, bridge: str, namespace: int) -> None:
    """A veth pair: `name` here, as a port of `bridge`; eth0 in the other namespace."""
    (master,) = await links.link_lookup(ifname=bridge)
    peer: dict[str, Any] = {"ifname": "eth0", "net_ns_fd": namespace}
    await links.link("add", ifname=name, kind="veth", peer=peer, master=master, state="up")


def _netlink_socket() -> int:
    return socket.socket(
        socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ).detach()
