"""A cluster with Istio's kinds, and a team's objects of them."""

from __future__ import annotations

import copy

from ktnet.cluster.istio.hosts import Targets
from ktnet.cluster.istio.plan import Version
from ktnet.cluster.istio.record import Entry
from ktnet.cluster.istio.rules import Rules

KINDS = {"destinationrules": "DestinationRule", "virtualservices": "VirtualService"}
POD_LABELS = {"app": "tomcat", "version": "v1"}

ROUTES = {
    "hosts": ["tomcat", "shop.example.com"],
    "gateways": ["mesh", "istio-system/public"],
    "http": [
        {
            "name": "canary",
            "match": [{"uri": {"prefix": "/api"}}, {"queryParams": {"canary": {"exact": "1"}}}],
            "rewrite": {"uri": "/"},
            "route": [{"destination": {"host": "tomcat", "subset": "v2"}}],
        },
        {"match": [{"uri": {"prefix": "/db"}}], "route": [{"destination": {"host": "db"}}]},
        {
            "name": "everything",
            "timeout": "5s",
            "mirror": {"host": "audit"},
            "route": [
                {"destination": {"host": "tomcat", "subset": "v1"}, "weight": 90},
                {"destination": {"host": "tomcat", "subset": "v2"}, "weight": 10},
            ],
        },
    ],
}
SUBSETS = {
    "host": "tomcat.demo.svc.cluster.local",
    "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}},
    "subsets": [
        {"name": "v1", "labels": {"version": "v1"}},
        {"name": "v2", "labels": {"version": "v2"}},
    ],
}


def define_kinds(cluster, versions=("v1", "v1beta1")):
    for plural, kind in KINDS.items():
        served = [
            {
                "name": version,
                "served": True,
                "storage": version == versions[0],
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }
            for version in versions
        ]
        names = {
            "plural": plural,
            "singular": kind.lower(),
            "kind": kind,
            "listKind": kind + "List",
        }
        cluster.store.create(
            "customresourcedefinitions",
            None,
            {
                "metadata": {"name": f"{plural}.networking.istio.io"},
                "spec": {
                    "group": "networking.istio.io",
                    "names": names,
                    "scope": "Namespaced",
                    "versions": served,
                },
            },
        )


def key_of(plural):
    return f"{plural}.networking.istio.io"


def add(cluster, plural, name, spec, **metadata):
    obj = {
        "apiVersion": "networking.istio.io/v1",
        "kind": KINDS[plural],
        "metadata": {"name": name, **metadata},
        "spec": copy.deepcopy(spec),
    }
    cluster.store.create(key_of(plural), "demo", obj)


def add_team(cluster):
    add(cluster, "virtualservices", "shop", ROUTES, annotations={"team": "shop"})
    add(cluster, "destinationrules", "shop", SUBSETS)


def look(cluster):
    """Spec, labels and annotations of each object."""
    return {
        f"{plural}/{obj['metadata']['name']}": copy.deepcopy(
            [obj["spec"], obj["metadata"].get("labels"), obj["metadata"].get("annotations")]
        )
        for plural in KINDS
        for obj in cluster.store.list(key_of(plural))
    }


def names(cluster, plural, name="shop"):
    obj = cluster.store.get(key_of(plural), "demo", name)
    key = "http" if plural == "virtualservices" else "subsets"
    return [each.get("name") for each in obj["spec"][key]]


def build_version(value, *, key="version", workload="tomcat", services=("tomcat",), labels=None):
    pod_labels = labels if labels is not None else POD_LABELS
    entry = Entry(
        f"{workload}-kt-{value}", f"{value}@laptop", "2026-11-24T15:00:00Z", services, key, value
    )
    return Version(
        entry,
        Targets("demo", services),
        {service: f"uid-{service}" for service in services},
        pod_labels,
        {**pod_labels, key: value},
    )


async def remove(rules: Rules, version: Version) -> bool:
    return await rules.remove(version.entry.session, version.entry.name)
