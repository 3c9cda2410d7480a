"""Machines beside the cluster: each a process that only holds a network and a mount namespace.

A laptop sees the node's files, but for its own /etc/resolv.conf and /etc/hosts, and a /run of its
own in which nothing but the lab's directory is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ktnet.errors import HostNetworkError
from ktnet.lab.node.launch import Entry, Identity, Launch
from ktnet.lab.node.namespaces import inside, write_sysctl
from ktnet.lab.node.network import (
    LAPTOP_SYSCTLS,
    PINNED,
    add_laptop_link,
    explained,
    open_shared_links,
    pin_congestion_control,
    remove_link,
)
from ktnet.lab.node.spawner import Spawner
from ktnet.lab.topology import NODE_LAN_ADDRESS, OFFICE_DNS_ADDRESS

RESOLVER = f"nameserver {OFFICE_DNS_ADDRESS}\nsearch office.example\n"
ALL_CAPABILITIES = (1 << 64) - 1
PRIVATE = "/run"
"""Where daemons of the host have their sockets: none of them is the laptop's."""


@dataclass(frozen=True)
class Laptop:
    """A machine on the LAN; it is there as long as the process `pid` is."""

    name: str
    address: IPv4Address
    pid: int
    links: AsyncIPRoute
    """Of its network namespace."""
    link: str
    """The node's end of its cable."""

    async def add_route(self, pod: IPv4Address) -> None:
        """The way to one pod, by the node; raises HostNetworkError."""
        with explained(f"give {self.name} a route to {pod}"):
            await self.links.route(
                "replace", dst=f"{pod}/32", gateway=str(NODE_LAN_ADDRESS), metrics=PINNED
            )

    async def remove_route(self, pod: IPv4Address) -> None:
        """Takes it away, where the laptop hasn't done so itself."""
        with contextlib.suppress(NetlinkError):
            await self.links.route("del", dst=f"{pod}/32", gateway=str(NODE_LAN_ADDRESS))


@contextlib.asynccontextmanager
async def open_laptop(
    spawner: Spawner, name: str, address: IPv4Address, directory: Path
) -> AsyncIterator[Laptop]:
    """A laptop with this address on the LAN, gone afterwards.

    `directory` is the lab's own: it is seen at the same place in the laptop, and holds the
    laptop's files. Raises StartFailed, HostNetworkError.
    """
    resolver = directory / f"{name}.resolv.conf"
    hosts = directory / f"{name}.hosts"
    resolver.write_text(RESOLVER)
    hosts.write_text(f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{address}\t{name}\n")
    launch = Launch(
        argv=(),
        environment={},
        directory="/",
        identity=Identity(0, 0, (0,), ALL_CAPABILITIES, may_gain_privileges=True),
        mount="layer",
        new_network=True,
        entries=build_laptop_entries(directory, resolver, hosts),
    )
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        process = await spawner.spawn(launch, streams=(null,) * 3, pid_namespace="own")
    finally:
        os.close(null)
    network = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with inside(network):
            pin_congestion_control()
            for key, value in LAPTOP_SYSCTLS.items():
                write_sysctl(key, value)
        async with AsyncIPRoute() as node_links, open_shared_links(network) as links:
            link = await add_laptop_link(node_links, network, address)
            try:
                yield Laptop(name, address, process.pid, links, link)
            finally:
                await remove_link(node_links, link)
    finally:
        os.close(network)
        await process.end()


def build_laptop_entries(directory: Path, resolver: Path, hosts: Path) -> tuple[Entry, ...]:
    """What a laptop has in place of the node's own files."""
    return (
        Entry("tmpfs", PRIVATE),
        Entry("bind", str(directory), source=str(directory)),
        Entry("bind", find_file("/etc/resolv.conf"), source=str(resolver)),
        Entry("bind", find_file("/etc/hosts"), source=str(hosts)),
    )


def find_file(name: str) -> str:
    """Where a file of the node's really is: /etc/resolv.conf may be a link into /run.

    Raises HostNetworkError where there is nothing to put the laptop's own file over.
    """
    path = Path(name).resolve()
    if not path.exists() and not path.is_relative_to(PRIVATE):
        raise HostNetworkError(
            f"this machine has no {name} that the lab's laptops could have another one in place of",
            hint=f"touch {path}",
        )
    return str(path)
