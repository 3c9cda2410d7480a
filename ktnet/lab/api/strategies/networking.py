"""Ingresses and IPAddresses: stored, and never acted upon.

kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1/; the checks are those of
pkg/apis/networking/validation/validation.go.
"""

from __future__ import annotations

from ipaddress import ip_address

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.strategy import Strategy

PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")


class IngressStrategy(Strategy):
    has_status = True
    has_generation = True

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {})

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"loadBalancer": {}}

    def check(self, check: FieldCheck, obj: Obj) -> None:
        spec = obj["spec"]
        if not spec.get("rules") and not spec.get("defaultBackend"):
            check.invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
        for index, rule in enumerate(spec.get("rules") or []):
            paths = (rule.get("http") or {}).get("paths") or []
            for at, path in enumerate(paths):
                field = f"spec.rules[{index}].http.paths[{at}].pathType"
                if "pathType" not in path:
                    check.required(field, "pathType must be specified")
                elif path["pathType"] not in PATH_TYPES:
                    check.unsupported(field, path["pathType"], PATH_TYPES)

    def present(self, obj: Obj) -> None:
        obj.setdefault("status", {"loadBalancer": {}})


class IpAddressStrategy(Strategy):
    """kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects."""

    def check_name(self, check: FieldCheck, name: str) -> None:
        try:
            if str(ip_address(name)) == name:
                return
        except ValueError:
            pass
        why = "must be a valid IP address in canonical form"
        check.invalid("metadata.name", name, why)

    def check(self, check: FieldCheck, obj: Obj) -> None:
        parent = (obj.get("spec") or {}).get("parentRef")
        if not parent:
            check.required("spec.parentRef")
            return
        for key in ("resource", "name"):
            if not parent.get(key):
                check.required(f"spec.parentRef.{key}")
