"""The files that a kubelet gives a pod: resolver, hosts, hostname. Pure.

As recorded in 10-dns/resolv-conf; the rules are those of
https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from ktnet.lab.node.environment import hostname_of
from ktnet.lab.topology import CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, OFFICE_DNS_ADDRESS

Obj = dict[str, Any]


def build_resolver(pod: Obj) -> str:
    """/etc/resolv.conf by the pod's dnsPolicy and dnsConfig."""
    spec = pod["spec"]
    namespace = pod["metadata"]["namespace"]
    nameservers: Sequence[str] = ()
    searches: Sequence[str] = ()
    options: dict[str, str | None] = {}
    policy = spec.get("dnsPolicy", "ClusterFirst")
    if policy in {"ClusterFirst", "ClusterFirstWithHostNet"}:
        nameservers = (str(DNS_SERVICE_ADDRESS),)
        searches = (f"{namespace}.svc.{CLUSTER_DOMAIN}", f"svc.{CLUSTER_DOMAIN}", CLUSTER_DOMAIN)
        options = {"ndots": "5"}
    elif policy == "Default":
        nameservers = (str(OFFICE_DNS_ADDRESS),)
    config = spec.get("dnsConfig") or {}
    nameservers = list(dict.fromkeys([*nameservers, *(config.get("nameservers") or ())]))
    searches = list(dict.fromkeys([*searches, *(config.get("searches") or ())]))
    for option in config.get("options") or ():
        options[option["name"]] = option.get("value")
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in nameservers]
    if options:
        words = [name if value is None else f"{name}:{value}" for name, value in options.items()]
        lines.append(f"options {' '.join(words)}")
    return "".join(f"{line}\n" for line in lines)


def build_hosts(pod: Obj, address: IPv4Address) -> str:
    """/etc/hosts with the pod's own name and its hostAliases."""
    spec = pod["spec"]
    own = hostname_of(pod)
    if spec.get("subdomain"):
        namespace = pod["metadata"]["namespace"]
        own = f"{own}.{spec['subdomain']}.{namespace}.svc.{CLUSTER_DOMAIN}\t{own}"
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        f"{address}\t{own}",
    ]
    aliases = spec.get("hostAliases") or ()
    if aliases:
        lines += ["", "# Entries added by HostAliases."]
        for alias in aliases:
            hostnames = "\t".join(alias.get("hostnames") or ())
            lines.append(f"{alias['ip']}\t{hostnames}")
    return "".join(f"{line}\n" for line in lines)
