"""What users ask for, by the part that it is for; None where it is to be found out."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal

DnsMode = Literal["auto", "resolved", "resolvconf", "off"]
"""What fits, systemd-resolved told, the resolver's file changed, or nothing changed."""


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster, and where in it."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None


@dataclass(frozen=True)
class ShadowOptions:
    """Which shadow, and the way to it."""

    image: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    node_selector: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    resources: tuple[tuple[str, str], ...] = ()
    via: Literal["port-forward", "direct"] = "port-forward"
    idle_s: int = 60
    timeout_s: float = 60
    sideload: bool = False
    sideload_wheels: str | None = None


@dataclass(frozen=True)
class ConnectOptions:
    """What of the cluster this machine shall see, beside what is found."""

    cluster: ClusterOptions
    shadow: ShadowOptions
    include: tuple[IPv4Network, ...] = ()
    exclude: tuple[IPv4Network, ...] = ()
    no_pod_ips: bool = False
    """Capture the addresses of Services only."""
    cluster_domain: str = "cluster.local"
    dns_include: tuple[str, ...] = ()
    dns_exclude: tuple[str, ...] = ()
    helper: Literal["sudo", "none"] = "sudo"
    """How an ordinary user's client starts the host helper."""
    dns_mode: DnsMode = "auto"
