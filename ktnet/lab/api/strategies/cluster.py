"""Namespaces, nodes and ranges of Service addresses: what lies in no namespace."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network, ip_network

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.metadata import format_time
from ktnet.lab.api.podsecurity.admission import check_levels
from ktnet.lab.api.strategies.strategy import Strategy, keep


class NamespaceStrategy(Strategy):
    name_is_label = True
    has_status = True

    def default(self, obj: Obj) -> None:
        meta = obj["metadata"]
        if meta.get("name"):
            meta["labels"] = {
                "kubernetes.io/metadata.name": meta["name"],
                **(meta.get("labels") or {}),
            }

    def check(self, check: FieldCheck, obj: Obj) -> None:
        check_levels(check, obj)

    def prepare_create(self, obj: Obj) -> None:
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, new: Obj, old: Obj) -> None:
        super().prepare_update(new, old)
        keep(new, old, "spec")


class NodeStrategy(Strategy):
    has_status = True
    keeps_status_on_create = True

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {})
        obj.setdefault("status", {})

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        before = old["spec"].get("podCIDR")
        if before and new["spec"].get("podCIDR") != before:
            check.forbidden(
                "spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'
            )


class ServiceCidrStrategy(Strategy):
    """kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects."""

    has_status = True
    keeps_status_on_create = True

    def check(self, check: FieldCheck, obj: Obj) -> None:
        ranges = obj.get("spec", {}).get("cidrs") or []
        if not ranges:
            check.required("spec.cidrs", "at least one CIDR required")
        for index, text in enumerate(ranges):
            try:
                ip_network(text)
            except ValueError:
                check.invalid(
                    f"spec.cidrs[{index}]",
                    text,
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                )

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        check.immutable("spec.cidrs", new["spec"]["cidrs"], old["spec"]["cidrs"])


def build_service_cidr(network: IPv4Network, now: datetime) -> Obj:
    """The range from which Services get their addresses, as the API server itself writes it."""
    ready = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": format_time(now),
        "reason": "",
        "message": "Kubernetes Service CIDR is ready",
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {
            "name": "kubernetes",
            "finalizers": ["networking.k8s.io/service-cidr-finalizer"],
        },
        "spec": {"cidrs": [str(network)]},
        "status": {"conditions": [ready]},
    }
