"""The objects of a mesh's router: pure.

    Service (the user's) ──owns──> Deployment ──owns──> origin Service, ServiceAccount, Role,
                                                        RoleBinding, PodDisruptionBudget, Leases

The Deployment is made with no pods, so that it can own what its pods need. Whatever becomes of the
clients, it goes with the Service that it serves, and all the rest with it.
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ktnet.cluster.exchange.exposure import list_named_ports
from ktnet.cluster.labels import MANAGED
from ktnet.cluster.shadow.account import (
    build_account_mount,
    build_account_objects,
    build_account_volume,
)
from ktnet.cluster.shadow.manifests import (
    CONTAINER,
    HOLDER_ANNOTATION,
    ShadowPort,
    ShadowSpec,
    build_lease,
    build_micro_time,
    build_pod_template,
    find_health_port,
)
from ktnet.errors import UsageError
from ktnet.wire.meshrecord import build_selector

Json = dict[str, Any]

ROUTER_LABEL = "ktnet.dev/router"
"""On all that belongs to a router but its pods: its name."""

REPLICAS = 2
GRACE_S = 35
"""The router takes 28 at most (`ktnet.shadow.mesh.process`)."""

_LONGEST_NAME = 63 - len("-origin")
"""Of the router: the origin's Service is called after it, and may have 63 characters."""


@dataclass(frozen=True, slots=True)
class RouterPort:
    """A port of the Service's pods."""

    number: int
    target: int | str
    """As the Service means it: by number or by the container's name for it."""
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """What stands in front of which Service."""

    shadow: ShadowSpec
    service: str
    service_uid: str
    name: str
    ports: tuple[RouterPort, ...]
    selector: tuple[tuple[str, str], ...]
    """Of the original pods."""
    holder: str
    """Who makes it: user@host."""
    restores: bool = True
    """Whether it has a Role to put the Service back by."""

    @property
    def origin(self) -> str:
        """Name of the Service for the original pods."""
        return f"{self.name}-origin"


def build_router_name(service: str) -> str:
    """A new one."""
    alphabet = string.ascii_lowercase + string.digits
    end = "-router-" + "".join(secrets.choice(alphabet) for _ in range(5))
    return service[: _LONGEST_NAME - len(end)].rstrip("-") + end


def plan_ports(service: Json, pod_spec: Json) -> tuple[RouterPort, ...]:
    """The ports that the router has to stand in for. `pod_spec` is of the pods behind the Service.

    Raises UsageError for what a router can't carry.
    """
    name, spec = service["metadata"]["name"], service["spec"]
    if spec.get("clusterIP") == "None":
        raise UsageError(
            f"service/{name} is headless: its callers go to its pods' own addresses, and a router "
            "would stand in nobody's way",
            hint="mesh a Service with a ClusterIP, or --mode manual",
        )
    named = dict(list_named_ports(pod_spec))
    ports: dict[int, RouterPort] = {}
    for port in spec.get("ports") or ():
        if port.get("protocol", "TCP") != "TCP":
            raise UsageError(f"service/{name} has a {port['protocol']} port, which isn't carried")
        target = port.get("targetPort") or port["port"]
        number = named.get(target) if isinstance(target, str) else target
        if number is None:
            raise UsageError(f"service/{name}: none of its pods has a port called {target}")
        ports.setdefault(number, RouterPort(number, target, port.get("appProtocol") or ""))
    return tuple(ports.values())


def build_labels(router: str) -> dict[str, str]:
    """Labels of every object of the router of that name."""
    return {
        **MANAGED,
        "app.kubernetes.io/name": "ktnet-router",
        ROUTER_LABEL: router,
    }


def build_deployment(spec: RouterSpec) -> Json:
    """Without pods yet; `build_start` lets it have them."""
    pod = build_pod_template(spec.name, _build_pod_shadow(spec))
    pod["metadata"]["labels"]["app.kubernetes.io/name"] = "ktnet-router"
    pod["spec"]["restartPolicy"] = "Always"
    pod["spec"]["terminationGracePeriodSeconds"] = GRACE_S
    pod["spec"]["containers"][0]["args"] = []
    pod["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": build_selector(spec.name)},
        }
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **_build_metadata(spec, spec.name),
            "annotations": {HOLDER_ANNOTATION: spec.holder},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": spec.service,
                    "uid": spec.service_uid,
                }
            ],
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": build_selector(spec.name)},
            # A new pod is there before an old one goes.
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pod,
        },
    }


def _build_pod_shadow(spec: RouterSpec) -> ShadowSpec:
    ports = tuple(
        ShadowPort(port.number, port.target if isinstance(port.target, str) else "")
        for port in spec.ports
    )
    return replace(spec.shadow, ports=ports, command="mesh", service_account="")


def build_start(spec: RouterSpec, origin_address: str) -> list[Json]:
    """The JSON patch by which the Deployment gets its pods, now that all they need is there."""
    container = "/spec/template/spec/containers/0"
    account = _build_account_volume(spec.name) if spec.restores else []
    return [
        {"op": "test", "path": f"{container}/name", "value": CONTAINER},
        _add(f"{container}/args", list(build_arguments(spec, origin_address))),
        *account,
        {"op": "replace", "path": "/spec/replicas", "value": REPLICAS},
    ]


def _build_account_volume(account: str) -> list[Json]:
    """The account's token, which the kubelet renews, and whom to trust."""
    return [
        _add("/spec/template/spec/serviceAccountName", account),
        _add("/spec/template/spec/volumes", [build_account_volume()]),
        _add("/spec/template/spec/containers/0/volumeMounts", [build_account_mount()]),
    ]


def build_arguments(spec: RouterSpec, origin_address: str) -> Iterable[str]:
    """What each of its pods is told (`ktnet.shadow.mesh.arguments`)."""
    host = f"[{origin_address}]" if ":" in origin_address else origin_address
    yield from ("router", f"--namespace={spec.shadow.namespace}", f"--service={spec.service}")
    yield f"--router={spec.name}"
    for port in spec.ports:
        protocol = f"={port.app_protocol}" if port.app_protocol else ""
        yield f"--route={port.number}={host}:{port.number}{protocol}"
    yield "--bind=$(POD_IP)"
    yield f"--idle={spec.shadow.idle_s or 60}"
    yield f"--health-port={find_health_port(tuple(ShadowPort(p.number) for p in spec.ports))}"
    if spec.restores:
        yield "--restore"


def build_origin(spec: RouterSpec) -> Json:
    """The Service by which the original pods are still reached."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _build_metadata(spec, spec.origin),
        "spec": {
            "selector": dict(spec.selector),
            "ports": [
                {
                    "name": f"tcp-{port.number}",
                    "protocol": "TCP",
                    "port": port.number,
                    "targetPort": port.target,
                }
                for port in spec.ports
            ],
        },
    }


def build_router_account(spec: RouterSpec) -> list[tuple[str, Json]]:
    """Its own account, never another one's: to put this one Service back, to delete itself, and to
    see who is still there. (plural, object) of each."""
    rules = [
        {
            "apiGroups": [""],
            "resources": ["services"],
            "resourceNames": [spec.service],
            "verbs": ["get", "patch"],
        },
        {
            "apiGroups": ["apps"],
            "resources": ["deployments"],
            "resourceNames": [spec.name],
            "verbs": ["delete"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]},
    ]
    return build_account_objects(spec.name, spec.shadow.namespace, build_labels(spec.name), rules)


def build_budget(spec: RouterSpec) -> Json:
    """A node that is drained waits until there is another pod.
    https://kubernetes.io/docs/concepts/workloads/pods/disruptions/"""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _build_metadata(spec, spec.name),
        "spec": {
            "minAvailable": 1,
            "selector": {"matchLabels": build_selector(spec.name)},
        },
    }


def build_member_lease(
    name: str, namespace: str, router: str, holder: str, now: datetime, duration_s: int
) -> Json:
    """Of one member."""
    lease = build_lease(name, namespace, holder, now, "mesh")
    lease["metadata"]["labels"][ROUTER_LABEL] = router
    lease["spec"]["leaseDurationSeconds"] = duration_s
    lease["spec"]["renewTime"] = build_micro_time(now)
    return lease


def build_deployment_owner(name: str, uid: str) -> Json:
    """The ownerReference to a router's Deployment."""
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid}


def _build_metadata(spec: RouterSpec, name: str) -> Json:
    return {
        "name": name,
        "namespace": spec.shadow.namespace,
        "labels": build_labels(spec.name),
    }


def _add(path: str, value: Any) -> Json:
    return {"op": "add", "path": path, "value": value}
