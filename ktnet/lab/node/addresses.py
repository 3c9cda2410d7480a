"""Which pod has which address. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from ktnet.lab.topology import DNS_POD_ADDRESS, NODE_POD_ADDRESS, NODE_POD_RANGE


class AddressesExhausted(Exception):
    """Every address of the node's range is taken."""


class PodAddresses:
    """The node's range of pod addresses; one that was given back is taken again last."""

    def __init__(self) -> None:
        taken = {NODE_POD_ADDRESS, DNS_POD_ADDRESS}
        self._free = [address for address in NODE_POD_RANGE.hosts() if address not in taken]

    def take(self) -> IPv4Address:
        """An address for a new pod; raises AddressesExhausted."""
        if not self._free:
            raise AddressesExhausted(f"no IP addresses available in range set: {NODE_POD_RANGE}")
        return self._free.pop(0)

    def give_back(self, address: IPv4Address) -> None:
        """The pod is gone."""
        self._free.append(address)
