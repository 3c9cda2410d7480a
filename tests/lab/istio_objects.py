"""Istio's kinds in a lab, and objects of a team's that are there before any mesh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from api_client import ask

from ktnet.lab.harness import Lab

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ISTIO = "/apis/networking.istio.io/v1/namespaces/demo"
KINDS = {"destinationrules": "DestinationRule", "virtualservices": "VirtualService"}

ROUTES = {
    "hosts": ["tomcat", "shop.example.com"],
    "gateways": ["mesh", "istio-system/public"],
    "http": [
        {
            "name": "canary",
            "match": [
                {"uri": {"prefix": "/api"}, "headers": {"end-user": {"exact": "jason"}}},
                {"queryParams": {"canary": {"exact": "1"}}},
            ],
            "rewrite": {"uri": "/"},
            "route": [{"destination": {"host": "tomcat", "subset": "v2"}}],
        },
        {"match": [{"uri": {"prefix": "/db"}}], "route": [{"destination": {"host": "db"}}]},
        {
            "name": "everything",
            "timeout": "5s",
            "route": [
                {
                    "destination": {
                        "host": "tomcat.demo.svc.cluster.local",
                        "subset": "v1",
                        "port": {"number": 80},
                    },
                    "weight": 90,
                },
                {"destination": {"host": "tomcat", "subset": "v2"}, "weight": 10},
            ],
        },
    ],
}
SUBSETS = {
    "host": "tomcat",
    "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}},
    "subsets": [
        {"name": "v1", "labels": {"version": "v1"}},
        {"name": "v2", "labels": {"version": "v2"}},
    ],
}


def add_kinds(lab: Lab) -> None:
    """As where Istio is installed."""
    for plural, kind in KINDS.items():
        versions = [
            {
                "name": name,
                "served": True,
                "storage": name == "v1",
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }
            for name in ("v1", "v1beta1")
        ]
        names = {
            "plural": plural,
            "singular": kind.lower(),
            "kind": kind,
            "listKind": f"{kind}List",
        }
        spec = {"group": "networking.istio.io", "names": names, "scope": "Namespaced"}
        ask(
            lab,
            "POST",
            CRDS,
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.networking.istio.io"},
                "spec": {**spec, "versions": versions},
            },
        )


def make(lab: Lab, plural: str, name: str, spec: dict[str, Any], **metadata: Any) -> None:
    obj = {
        "apiVersion": "networking.istio.io/v1",
        "kind": KINDS[plural],
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }
    ask(lab, "POST", f"{ISTIO}/{plural}", obj)


def read(lab: Lab) -> dict[str, dict[str, Any]]:
    """Each object's spec, labels and annotations, by kind and name."""
    return {
        f"{plural}/{obj['metadata']['name']}": {
            "spec": obj["spec"],
            "labels": obj["metadata"].get("labels"),
            "annotations": obj["metadata"].get("annotations"),
        }
        for plural in KINDS
        for obj in ask(lab, "GET", f"{ISTIO}/{plural}")["items"]
    }


@contextmanager
def existing(lab: Lab) -> Iterator[dict[str, Any]]:
    """A team's objects, as they are before."""
    make(lab, "virtualservices", "shop", ROUTES, annotations={"team": "shop"})
    make(lab, "destinationrules", "shop", SUBSETS)
    try:
        yield read(lab)
    finally:
        for name, obj in list(read(lab).items()):
            ask(lab, "DELETE", f"{ISTIO}/{name}")
            del obj
