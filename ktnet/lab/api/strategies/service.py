"""Services: defaults and checks; addresses and node ports are given out by `allocation`."""

from __future__ import annotations

from ipaddress import ip_address

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.podspec import PROTOCOLS
from ktnet.lab.api.strategies.strategy import Strategy, put_default

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
AFFINITY_S = 10800
"""How long a client keeps its endpoint under sessionAffinity ClientIP, unless said otherwise."""

_ADDRESSING = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


class ServiceStrategy(Strategy):
    name_is_label = True
    creates_on_update = True
    returns_deleted = True
    has_status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        put_default(spec, type="ClusterIP", sessionAffinity="None")
        if spec["sessionAffinity"] == "ClientIP":
            spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault(
                "timeoutSeconds", AFFINITY_S
            )
        if spec["type"] != "ExternalName":
            put_default(spec, internalTrafficPolicy="Cluster")
        if spec["type"] in {"NodePort", "LoadBalancer"}:
            put_default(spec, externalTrafficPolicy="Cluster")
        if spec["type"] == "LoadBalancer":
            put_default(spec, allocateLoadBalancerNodePorts=True)
        for port in spec.get("ports") or []:
            put_default(port, protocol="TCP")
            put_default(port, targetPort=port.get("port", 0))
        for key in ("ports", "selector"):
            if not spec.get(key):
                spec.pop(key, None)

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"loadBalancer": {}}

    def check(self, check: FieldCheck, obj: Obj) -> None:
        spec = obj["spec"]
        ports = spec.get("ports") or []
        headless = spec.get("clusterIP") == "None"
        if not ports and not headless and spec["type"] != "ExternalName":
            check.required("spec.ports")
        _check_ports(check, ports)
        if spec["type"] not in TYPES:
            check.unsupported("spec.type", spec["type"], TYPES)
        if spec["type"] == "ExternalName" and not spec.get("externalName"):
            check.required("spec.externalName")
        if spec["sessionAffinity"] not in {"None", "ClientIP"}:
            check.unsupported("spec.sessionAffinity", spec["sessionAffinity"], ("ClientIP", "None"))
        _check_addresses(check, spec)

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        if "ExternalName" in {new["spec"]["type"], old["spec"]["type"]}:
            return
        before, after = list_addresses(old["spec"]), list_addresses(new["spec"])
        if before and after and before[0] != after[0]:
            check.invalid("spec.clusterIPs[0]", after, "may not change once set")

    def prepare_update(self, new: Obj, old: Obj) -> None:
        super().prepare_update(new, old)
        spec, before = new["spec"], old["spec"]
        if spec["type"] == "ExternalName":
            for key in (*_ADDRESSING, "internalTrafficPolicy"):
                spec.pop(key, None)
        elif before["type"] != "ExternalName":
            _keep_addresses(spec, before)
        if spec["type"] in {"NodePort", "LoadBalancer"}:
            _keep_node_ports(spec, before)
        else:
            spec.pop("externalTrafficPolicy", None)
            for port in spec.get("ports") or []:
                port.pop("nodePort", None)


def list_addresses(spec: Obj) -> list[str]:
    """The ClusterIPs that a spec asks for or has; ["None"] for a headless Service."""
    if spec.get("clusterIPs"):
        return list(spec["clusterIPs"])
    return [spec["clusterIP"]] if spec.get("clusterIP") else []


def _keep_addresses(spec: Obj, before: Obj) -> None:
    """Whoever replaces a Service need not know what was allocated (patchAllocatedValues).

    `clusterIP` and the first of `clusterIPs` are one thing: the one that changed wins.
    """
    for key in _ADDRESSING:
        if not spec.get(key) and before.get(key):
            spec[key] = before[key]
    if spec.get("clusterIP") != before.get("clusterIP"):
        spec["clusterIPs"] = [spec["clusterIP"], *spec.get("clusterIPs", [])[1:]]
    elif spec.get("clusterIPs"):
        spec["clusterIP"] = spec["clusterIPs"][0]


def _keep_node_ports(spec: Obj, before: Obj) -> None:
    known = {
        (port["port"], port.get("protocol")): port["nodePort"]
        for port in before.get("ports") or []
        if "nodePort" in port
    }
    for port in spec.get("ports") or []:
        number = known.get((port["port"], port.get("protocol")))
        if number is not None:
            port.setdefault("nodePort", number)


def _check_ports(check: FieldCheck, ports: list[Obj]) -> None:
    names: set[str] = set()
    seen: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        at, name = f"spec.ports[{index}]", port.get("name", "")
        if not name and len(ports) > 1:
            check.required(f"{at}.name")
        if name and name in names:
            check.duplicate(f"{at}.name", name)
        names.add(name)
        check.port(f"{at}.port", port.get("port", 0))
        if port["protocol"] not in PROTOCOLS:
            check.unsupported(f"{at}.protocol", port["protocol"], PROTOCOLS)
        check.port(f"{at}.targetPort", port["targetPort"])
        key = (port.get("port"), port["protocol"])
        if key in seen:
            check.duplicate(at, {"protocol": port["protocol"], "port": port.get("port")})
        seen.add(key)


def _check_addresses(check: FieldCheck, spec: Obj) -> None:
    for index, address in enumerate(list_addresses(spec)):
        if address in {"None", ""}:
            continue
        try:
            ip_address(address)
        except ValueError:
            check.invalid(
                f"spec.clusterIPs[{index}]",
                address,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            )
