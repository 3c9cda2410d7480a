"""The addresses behind each Service: EndpointSlices, and the older Endpoints beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import (
    Action,
    Create,
    Replace,
    apply_action,
    build_delete,
    find,
)
from ktnet.lab.controllers.kind import (
    Clock,
    Obj,
    build_controller_reference,
    format_time,
    is_being_deleted,
    is_finished_pod,
    is_ready_pod,
    labels_of,
)
from ktnet.lab.controllers.loop import Key

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_MANAGED_LABEL = "endpoints.kubernetes.io/managed-by"
HEADLESS_LABEL = "service.kubernetes.io/headless"
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"

Ports = tuple[tuple[str, str, int], ...]
"""(name, protocol, port) of each port of a Service as one pod has them."""


def plan_endpoints(
    service: Obj, pods: list[Obj], slices: list[Obj], endpoints: Obj | None, now: datetime
) -> list[Action]:
    """What to do for a Service.

    `pods` are those of its namespace, `slices` the EndpointSlices that carry its name and that
    the controller manages. A Service without selector keeps what it has: others may write it.
    """
    if not service["spec"].get("selector") or is_being_deleted(service):
        return []
    if service["spec"].get("type") == "ExternalName":
        return []
    groups = group_by_ports(service, pods)
    return [
        *_plan_slices(service, groups, slices, now),
        *_plan_legacy(service, groups, endpoints, now),
    ]


def group_by_ports(service: Obj, pods: list[Obj]) -> dict[Ports, list[Obj]]:
    """The endpoints of a Service, grouped by the ports that its named targetPorts mean there."""
    groups: dict[Ports, list[Obj]] = defaultdict(list)
    for pod in pods:
        if not service["spec"]["selector"].items() <= labels_of(pod).items():
            continue
        if is_finished_pod(pod) or not (pod.get("status") or {}).get("podIP"):
            continue
        groups[resolve_ports(service, pod)].append(build_endpoint(service, pod))
    return dict(groups)


def resolve_ports(service: Obj, pod: Obj) -> Ports:
    """The Service's ports on this pod; a port that the pod doesn't name is left out."""
    named = {
        (port["name"], port.get("protocol", "TCP")): port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
        if port.get("name")
    }
    resolved = []
    for port in service["spec"].get("ports") or []:
        protocol = port.get("protocol", "TCP")
        target = port.get("targetPort") or port["port"]
        number = named.get((target, protocol)) if isinstance(target, str) else target
        if number is not None:
            resolved.append((port.get("name", ""), protocol, int(number)))
    return tuple(resolved)


def build_endpoint(service: Obj, pod: Obj) -> Obj:
    """One endpoint of an EndpointSlice (discovery.k8s.io/v1)."""
    meta, spec = pod["metadata"], pod["spec"]
    serving = is_ready_pod(pod)
    terminating = is_being_deleted(pod)
    anyway = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Obj = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": anyway or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        },
        "nodeName": spec.get("nodeName"),
    }
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint


def order_endpoints(endpoints: list[Obj], known: Obj | None) -> list[Obj]:
    """Those that the slice has stay where they are, new ones come behind them."""
    present = [each["addresses"] for each in (known or {}).get("endpoints") or []]
    count = len(present)
    return sorted(
        endpoints,
        key=lambda each: (
            present.index(each["addresses"]) if each["addresses"] in present else count,
            each["addresses"],
        ),
    )


def _plan_slices(
    service: Obj, groups: dict[Ports, list[Obj]], slices: list[Obj], now: datetime
) -> list[Action]:
    meta = service["metadata"]
    wanted = groups or {(): []}
    free = list(slices)
    actions: list[Action] = []
    for ports, endpoints in wanted.items():
        listed = [{"name": n, "protocol": p, "port": number} for n, p, number in ports] or None
        reused = next((each for each in free if each.get("ports") == listed), None)
        if reused is None and free:
            reused = free[0]
        contents = {
            "addressType": "IPv4",
            "endpoints": order_endpoints(endpoints, reused) or None,
            "ports": listed,
        }
        labels = _build_labels(service)
        if reused is None:
            obj = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "generateName": meta["name"] + "-",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "annotations": {TRIGGER: format_time(now)},
                    "ownerReferences": [build_controller_reference(service)],
                },
                **contents,
            }
            actions.append(Create("endpointslices", meta["namespace"], obj))
            continue
        free.remove(reused)
        same = all(reused.get(field) == contents[field] for field in contents)
        if not same or labels_of(reused) != labels:
            obj = {
                **reused,
                **contents,
                "metadata": {
                    **reused["metadata"],
                    "labels": labels,
                    "annotations": {TRIGGER: format_time(now)},
                },
            }
            actions.append(Replace("endpointslices", obj))
    actions += [build_delete("endpointslices", each) for each in free]
    return actions


def _build_labels(service: Obj) -> dict[str, str]:
    labels = {
        **labels_of(service),
        MANAGED_LABEL: MANAGER,
        SERVICE_LABEL: service["metadata"]["name"],
    }
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    return labels


def _plan_legacy(
    service: Obj, groups: dict[Ports, list[Obj]], known: Obj | None, now: datetime
) -> list[Action]:
    """The Endpoints object: pods that are being deleted aren't in it."""
    meta = service["metadata"]
    subsets = [
        subset
        for ports, endpoints in groups.items()
        if (subset := _build_subset(ports, endpoints)) is not None
    ]
    labels = {**labels_of(service), ENDPOINTS_MANAGED_LABEL: "endpoint-controller"}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    if known is not None and (known.get("subsets") or []) == subsets and labels_of(known) == labels:
        return []
    obj: Obj = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            **(known["metadata"] if known else {}),
            "labels": labels,
            "annotations": {TRIGGER: format_time(now)},
        },
        **({"subsets": subsets} if subsets else {}),
    }
    if known is None:
        return [Create("endpoints", meta["namespace"], obj)]
    return [Replace("endpoints", obj)]


def _build_subset(ports: Ports, endpoints: list[Obj]) -> Obj | None:
    subset: dict[str, Any] = {}
    # By address, as texts: LessEndpointAddress in k8s.io/endpointslice and api/v1/endpoints.
    for endpoint in sorted(endpoints, key=lambda each: str(each["addresses"][0])):
        if endpoint["conditions"]["terminating"]:
            continue
        field = "addresses" if endpoint["conditions"]["ready"] else "notReadyAddresses"
        address = {
            "ip": endpoint["addresses"][0],
            **({"hostname": endpoint["hostname"]} if "hostname" in endpoint else {}),
            "nodeName": endpoint["nodeName"],
            "targetRef": endpoint["targetRef"],
        }
        subset.setdefault(field, []).append(address)
    if not subset:
        return None
    subset["ports"] = [
        {**({"name": name} if name else {}), "port": port, "protocol": protocol}
        for name, protocol, port in ports
    ]
    return subset


def describe_endpoint(pod: Obj) -> tuple[object, ...]:
    """What of a pod makes a change of its endpoints; anything else is not looked at.

    That it has ended is no part of it: such a pod stays until something else changes (recorded in
    05-ownership/job-ttl-events; podEndpointsChanged of k8s.io/endpointslice/util).
    """
    spec, meta, status = pod["spec"], pod["metadata"], pod.get("status") or {}
    return (
        status.get("podIPs"),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
        is_ready_pod(pod),
        meta.get("deletionTimestamp"),
    )


class EndpointsController:
    """Keeps every Service's EndpointSlices and Endpoints."""

    watched = ("services", "pods", "endpointslices")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[object, dict[str, str]]] = {}
        """By a pod's uid, what of it was looked at last, and its labels."""
        self._written: dict[Key, dict[str, tuple[object, ...]]] = {}
        """By Service, what its slices held when it was looked at last."""

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        namespace = obj["metadata"]["namespace"]
        match plural:
            case "services":
                yield (namespace, obj["metadata"]["name"]), 0.0
            case "endpointslices":
                if labels_of(obj).get(MANAGED_LABEL) == MANAGER and not self._is_own(kind, obj):
                    yield (namespace, labels_of(obj).get(SERVICE_LABEL, "")), 0.0
            case _:
                touched = self._list_touched(kind, obj)
                for service in self._store.list("services", namespace) if touched else ():
                    selector = service["spec"].get("selector") or {}
                    if any(selector.items() <= labels.items() for labels in touched):
                        yield (namespace, service["metadata"]["name"]), 0.0

    def _is_own(self, kind: str, obj: Obj) -> bool:
        """Whether a slice is as it was left: what nobody else changed needs no look."""
        key = (obj["metadata"]["namespace"], labels_of(obj).get(SERVICE_LABEL, ""))
        written = self._written.get(key, {}).get(obj["metadata"]["name"])
        return kind != "DELETED" and written == (obj["endpoints"], obj.get("ports"))

    def _list_touched(self, kind: str, pod: Obj) -> list[dict[str, str]]:
        """The pod's labels, now and before, where anything changed that endpoints show."""
        uid, labels = pod["metadata"]["uid"], labels_of(pod)
        found = describe_endpoint(pod)
        known = self._known.pop(uid, None)
        if kind != "DELETED":
            self._known[uid] = (found, labels)
        if known is None or kind == "DELETED":
            return [labels]
        return [] if known == (found, labels) else [known[1], labels]

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        service = find(self._store, "services", namespace, name)
        endpoints = find(self._store, "endpoints", namespace, name)
        if service is None:
            self._written.pop(key, None)
            if endpoints is not None and ENDPOINTS_MANAGED_LABEL in labels_of(endpoints):
                apply_action(self._store, build_delete("endpoints", endpoints))
            return None
        labels = {SERVICE_LABEL: name, MANAGED_LABEL: MANAGER}
        slices = self._store.list("endpointslices", namespace, labels)
        pods = self._store.list("pods", namespace)
        for action in plan_endpoints(service, pods, slices, endpoints, self._clock()):
            apply_action(self._store, action)
        self._written[key] = {
            each["metadata"]["name"]: (each["endpoints"], each.get("ports"))
            for each in self._store.list("endpointslices", namespace, labels)
        }
        return None
