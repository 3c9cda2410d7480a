"""The Services and endpoints whose names were asked for, by what was answered."""

from __future__ import annotations

from typing import Any

from ktnet.lab.api.store import Store

NAMES = (
    *("transcripts", "dnsh", "sts", "sts-0", "sts-1", "sts-9", "big", "ext", "extout", "extip"),
    *("empty", "emptyh", "noready", "norpub", "noname", "myhost", "absent", "late", "late2"),
)
"""Of the recording's own choice."""
NAMESPACE = "transcripts"
HTTP = [{"name": "http", "port": 8080, "protocol": "TCP"}]
BEHIND = (("10.244.0.57", ""), ("10.244.0.59", ""), ("10.244.0.63", "myhost"))
HUNDRED = [(f"10.9.0.{number}", "") for number in range(1, 101)]
PORTS = [
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "tls", "port": 443, "targetPort": 8080},
    {"name": "dns-udp", "port": 53, "protocol": "UDP"},
]
HEADLESS: dict[str, Any] = {"clusterIP": "None"}


def build_cluster(names: dict[str, str]) -> Store:
    """A store in which each thing has its new name."""
    store = Store()
    place = names[NAMESPACE]
    for namespace in (place, "demo", "default", "kube-system"):
        store.create("namespaces", None, {"metadata": {"name": namespace}})
    resolver = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    for namespace, name, spec in (
        ("default", "kubernetes", {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}),
        ("kube-system", "kube-dns", {"clusterIP": "10.96.0.10", "ports": resolver}),
        ("demo", "web", {"ports": [{"name": "http", "port": 80}]}),
        (place, "dns", {"clusterIP": "10.96.2.122", "ports": PORTS}),
        (place, "noname", {"clusterIP": "10.96.209.25", "ports": [{"port": 80}]}),
        (place, "empty", {"clusterIP": "10.96.214.243", "ports": [{"port": 80}]}),
        *((place, name, HEADLESS) for name in ("dnsh", "sts", "emptyh", "noready", "big")),
        (place, "norpub", {**HEADLESS, "publishNotReadyAddresses": True}),
        (place, "ext", build_alias(f"dns.{place}.svc.cluster.local")),
        (place, "extout", build_alias("www.example.com")),
        (place, "extip", build_alias("10.1.2.3")),
    ):
        add_service(store, namespace, names.get(name, name), spec)
    web = [{"name": "http", "port": 80, "protocol": "TCP"}]
    for namespace, name, ports, endpoints, ready in (
        ("demo", "web", HTTP, [("10.244.0.4", "")], True),
        *((place, name, HTTP, BEHIND, True) for name in ("dnsh",)),
        *((place, name, HTTP, [(a, "") for a, _ in BEHIND], True) for name in ("dns", "noname")),
        (place, "sts", HTTP, [("10.244.0.60", "sts-0"), ("10.244.0.58", "sts-1")], True),
        (place, "noready", HTTP, [("10.244.0.62", "")], False),
        # The controller says ready of those that are published though they are not.
        (place, "norpub", HTTP, [("10.244.0.62", "")], True),
        (place, "big", web, HUNDRED, True),
    ):
        called = [(address, names.get(host, host)) for address, host in endpoints]
        add_slice(store, namespace, names.get(name, name), ports, called, ready=ready)
    return store


def build_alias(target: str) -> dict[str, str]:
    return {"type": "ExternalName", "externalName": target}


def add_service(store: Store, namespace: str, name: str, spec: dict[str, Any]) -> None:
    store.create("services", namespace, {"metadata": {"name": name}, "spec": spec})


def add_slice(
    store: Store,
    namespace: str,
    service: str,
    ports: list[Any],
    endpoints: list[tuple[str, str]],
    *,
    ready: bool,
) -> None:
    """Endpoints as addresses, each with its host name or ""."""
    meta = {"name": service, "labels": {"kubernetes.io/service-name": service}}
    listed = [
        {
            "addresses": [address],
            "conditions": {"ready": ready},
            **({"hostname": host} if host else {}),
        }
        for address, host in endpoints
    ]
    endpoint_slice = {
        "metadata": meta,
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": listed,
    }
    store.create("endpointslices", namespace, endpoint_slice)


def prepare(store: Store, asked: str, names: dict[str, str]) -> None:
    """How it was before the change."""
    place, name = names[NAMESPACE], asked.partition(".")[0]
    if name == "late":
        spec = {"clusterIP": "10.96.77.77", "ports": [{"port": 80}]}
        add_service(store, place, names[name], spec)
    elif name == "dnsh":
        give_pods(store, place, names[name], 57, 63)


def change(store: Store, asked: str, names: dict[str, str]) -> None:
    """What was done while that name was asked for: a Service made, a Service gone, more pods."""
    place, name = names[NAMESPACE], asked.partition(".")[0]
    match name:
        case "late2":
            spec = {"clusterIP": "10.96.77.78", "ports": [{"port": 80}]}
            add_service(store, place, names[name], spec)
        case "late":
            store.delete("services", place, names[name])
        case "dnsh":
            give_pods(store, place, names[name], 57, 63, 72, 73)


def give_pods(store: Store, namespace: str, service: str, *numbers: int) -> None:
    """A headless Service's pods are now these."""
    store.delete("endpointslices", namespace, service)
    pods = [(f"10.244.0.{number}", "") for number in numbers]
    add_slice(store, namespace, service, HTTP, pods, ready=True)
