"""A pod's sandbox: its namespaces, its address and its place in the node's network.

No process is needed to hold it: the daemon keeps descriptors, and the kernel lets go of them with
the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from pyroute2 import AsyncIPRoute

from ktnet.lab.node.namespaces import inside, make_namespaces, write_sysctl
from ktnet.lab.node.network import (
    POD_SYSCTLS,
    add_pod_link,
    pin_congestion_control,
    remove_link,
)

SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
"""What a kubelet sets without being told to:
https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/#safe-and-unsafe-sysctls"""


@dataclass(frozen=True)
class Sandbox:
    """The namespaces that a pod's containers share."""

    address: IPv4Address
    network: int
    ipc: int
    uts: int

    @property
    def namespaces(self) -> tuple[int, int, int]:
        """Descriptors to enter."""
        return self.network, self.ipc, self.uts

    async def connect(self, port: int) -> socket.socket:
        """A non-blocking TCP connection to 127.0.0.1:port in the pod; raises OSError."""
        with inside(self.network):
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            # As containerd's, which is written in Go, where it is the default.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.asynccontextmanager
async def open_sandbox(
    links: AsyncIPRoute, hostname: str, address: IPv4Address, sysctls: Mapping[str, str]
) -> AsyncIterator[Sandbox]:
    """A sandbox in the node's network; its address is nobody's again afterwards.

    Raises HostNetworkError, OSError (a sysctl's value is refused).
    """
    network, ipc, uts = make_namespaces(hostname)
    try:
        with inside(network, ipc, uts):
            pin_congestion_control()
            for name, value in {**POD_SYSCTLS, **sysctls}.items():
                write_sysctl(name, value)
        link = await add_pod_link(links, network, address)
        try:
            yield Sandbox(address, network, ipc, uts)
        finally:
            await remove_link(links, link)
    finally:
        for descriptor in (network, ipc, uts):
            os.close(descriptor)
