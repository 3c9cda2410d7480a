"""What is known of a Service, between whoever watches them and whoever answers for their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address


@dataclass(frozen=True, slots=True)
class Service:
    """A Service that exists."""

    headless: bool
    """Its name stands for its endpoints, and each of them has a name below it
    (https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/)."""
    addresses: tuple[IPv4Address | IPv6Address, ...]
    """Its cluster IPs; none where it is headless or an ExternalName."""


FindService = Callable[[str, str], Service | None]
"""From a namespace and a name, both in lower case, to the Service; None where there is none."""
