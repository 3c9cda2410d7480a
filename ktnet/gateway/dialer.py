"""Connections: the cluster's through the tunnel, all others from here."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from ktnet.stream.target import SocketOpening
from ktnet.wire.flow import Dialer, Opening, Receiver


class Networks:
    """Which addresses are the cluster's."""

    def __init__(self, networks: Sequence[IPv4Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, address: IPv4Address) -> bool:
        return any(address in network for network in self._networks)


class Gateway:
    """A `ktnet.wire.flow.Dialer` over a tunnel and this machine's own network."""

    def __init__(self, cluster: Networks, tunnel: Dialer) -> None:
        self._cluster = cluster
        self._tunnel = tunnel

    def open_tcp(
        self, host: str, port: int, origin: tuple[str, int], receiver: Receiver
    ) -> Opening:
        """By the tunnel where `host`, an address, is the cluster's; else as from this machine."""
        if IPv4Address(host) in self._cluster:
            return self._tunnel.open_tcp(host, port, origin, receiver)
        return SocketOpening(host, port, receiver)
