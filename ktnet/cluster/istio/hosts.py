"""Which of the hosts in Istio's objects is a Service: pure.

A host without a dot is a Service of the object's own namespace; any other is taken as it stands, so
`tomcat.demo` is nobody's, and only the full name will do elsewhere.
https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_DOMAIN = "cluster.local"
"""What a wildcard is held against that says nothing of namespaces; most clusters have it."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The Services in front of a workload."""

    namespace: str
    services: tuple[str, ...]

    def find(self, host: Any) -> str | None:
        """The Service that `host` names in an object of the namespace."""
        if not isinstance(host, str):
            return None
        service, dot, rest = host.partition(".")
        if service not in self.services:
            return None
        is_full = rest.startswith(f"{self.namespace}.svc.")
        return service if not dot or is_full else None

    def is_covered(self, service: str, host: Any) -> bool:
        """Whether `host`, which may be a wildcard ("*", "*.demo.svc.cluster.local"), is it too."""
        if not isinstance(host, str):
            return False
        if not host.startswith("*"):
            return self.find(host) == service
        suffix = host[1:].removeprefix(".")
        return (
            f"{service}.{self.namespace}.svc.{_DOMAIN}".endswith(suffix)
            # Another domain than the usual one.
            or suffix.startswith((f"{self.namespace}.svc.", "svc."))
        )


def find_closest(hosts: Iterable[str]) -> str | None:
    """Of hosts that cover the same Service the one that Istio goes by: the longest."""
    return max(hosts, key=len, default=None)


def is_in_mesh(virtual_service: Json) -> bool:
    """Whether it is for calls between pods, and not at gateways only."""
    gateways = virtual_service["spec"].get("gateways")
    return not gateways or (isinstance(gateways, list) and "mesh" in gateways)
