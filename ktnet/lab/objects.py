"""What a new lab holds: the objects every cluster has, and the demo namespace. Pure."""

from __future__ import annotations

import platform
from typing import Any

from ktnet.lab.topology import (
    API_PORT,
    API_SERVICE_ADDRESS,
    DNS_POD_ADDRESS,
    DNS_PORT,
    DNS_SERVICE_ADDRESS,
    NODE_LAN_ADDRESS,
    NODE_NAME,
    NODE_POD_RANGE,
)

Obj = dict[str, Any]

DEMO = "demo"
HTTP_ECHO = "lab/http-echo:1"
STREAMS = "lab/streams:1"
UDP_ECHO = "lab/udp-echo:1"

SERVED_PODS = {"demo/tomcat": 1, "demo/web": 2, "demo/udp-echo": 1, "demo/streams": 1}
"""How many pods the node leads to for each Service of the demo that has a ClusterIP."""

DEMO_PODS = sum(SERVED_PODS.values()) + 3

STREAM_PORTS = {
    "echo": 7001,
    "sink": 7002,
    "source": 7003,
    "reset": 7004,
    "greet": 7005,
    "discard": 7006,
}


def build_namespaces() -> list[Obj]:
    names = ("default", "kube-system", "kube-public", "kube-node-lease", DEMO)
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]


def build_node(now: str) -> Obj:
    """The only node; `now` as a `metav1.Time`."""
    condition = {
        "type": "Ready",
        "status": "True",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
    }
    room = {"cpu": "2", "memory": "4Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                "kubernetes.io/hostname": NODE_NAME,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "arm64" if platform.machine() == "aarch64" else "amd64",
            },
        },
        "spec": {"podCIDR": str(NODE_POD_RANGE), "podCIDRs": [str(NODE_POD_RANGE)]},
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [condition],
            "addresses": [
                {"type": "InternalIP", "address": str(NODE_LAN_ADDRESS)},
                {"type": "Hostname", "address": NODE_NAME},
            ],
        },
    }


def build_system_objects() -> list[tuple[str, Obj]]:
    """(plural, object) of the Services `kubernetes` and `kube-dns`, which have no pods here."""
    api_port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": API_PORT}
    api = _service("default", "kubernetes", [api_port], clusterIP=str(API_SERVICE_ADDRESS))
    api["metadata"]["labels"] = {"component": "apiserver", "provider": "kubernetes"}
    dns_ports = [
        {"name": "dns", "port": DNS_PORT, "protocol": "UDP", "targetPort": DNS_PORT},
        {"name": "dns-tcp", "port": DNS_PORT, "protocol": "TCP", "targetPort": DNS_PORT},
    ]
    dns = _service("kube-system", "kube-dns", dns_ports, clusterIP=str(DNS_SERVICE_ADDRESS))
    dns["metadata"]["labels"] = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    return [
        ("services", api),
        ("endpoints", _endpoints(api, str(NODE_LAN_ADDRESS))),
        ("endpointslices", _slice(api, str(NODE_LAN_ADDRESS))),
        ("services", dns),
        ("endpoints", _endpoints(dns, str(DNS_POD_ADDRESS))),
        ("endpointslices", _slice(dns, str(DNS_POD_ADDRESS))),
    ]


def build_demo_objects() -> list[tuple[str, Obj]]:
    """(plural, object) of the demo namespace: something of everything to connect to."""
    http = [{"name": "http", "port": 80, "targetPort": "http"}]
    echo = [{"name": "echo", "port": 7, "protocol": "UDP"}]
    streams = [{"name": name, "port": port} for name, port in STREAM_PORTS.items()]
    database = _service(DEMO, "db", [{"name": "http", "port": 8080}], clusterIP="None")
    database["spec"]["selector"] = {"app": "db"}
    return [
        ("deployments", _deployment("tomcat", HTTP_ECHO, {"http": 8080})),
        ("services", _selecting("tomcat", http)),
        ("deployments", _deployment("web", HTTP_ECHO, {"http": 8080}, replicas=2)),
        ("services", _selecting("web", http)),
        ("services", database),
        ("statefulsets", _database()),
        ("deployments", _deployment("udp-echo", UDP_ECHO, {"echo": 7}, protocol="UDP")),
        ("services", _selecting("udp-echo", echo)),
        ("deployments", _deployment("streams", STREAMS, STREAM_PORTS)),
        ("services", _selecting("streams", streams)),
    ]


def _service(namespace: str, name: str, ports: list[Obj], **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": ports, **spec},
    }


def _selecting(name: str, ports: list[Obj]) -> Obj:
    return _service(DEMO, name, ports, selector={"app": name})


def _slice(service: Obj, address: str) -> Obj:
    """The EndpointSlice of a Service without selector, as somebody has to write it."""
    name = service["metadata"]["name"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": service["metadata"]["namespace"],
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [
            {"name": port["name"], "port": port["targetPort"], "protocol": port["protocol"]}
            for port in service["spec"]["ports"]
        ],
    }


def _endpoints(service: Obj, address: str) -> Obj:
    meta = service["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [
            {
                "addresses": [{"ip": address}],
                "ports": [
                    {"name": port["name"], "port": port["targetPort"], "protocol": port["protocol"]}
                    for port in service["spec"]["ports"]
                ],
            }
        ],
    }


def _deployment(
    name: str, image: str, ports: dict[str, int], *, replicas: int = 1, protocol: str = "TCP"
) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": DEMO, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": _pod_spec(image, ports, protocol),
            },
        },
    }


def _database() -> Obj:
    """Pods that have names of their own; made at once, for who waits for the lab waits for them."""
    workload = _deployment("db", HTTP_ECHO, {"http": 8080}, replicas=3)
    own = {"serviceName": "db", "podManagementPolicy": "Parallel"}
    return {**workload, "kind": "StatefulSet", "spec": {**workload["spec"], **own}}


def _pod_spec(image: str, ports: dict[str, int], protocol: str) -> Obj:
    container: Obj = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [
            {"name": name, "containerPort": port, "protocol": protocol}
            for name, port in ports.items()
        ],
    }
    if protocol == "TCP":
        # Ready means that it answers: whoever waits for the lab may connect at once.
        probe = {"tcpSocket": {"port": next(iter(ports.values()))}, "periodSeconds": 1}
        container["readinessProbe"] = probe
    return {"containers": [container], "terminationGracePeriodSeconds": 2}
