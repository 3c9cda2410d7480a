"""`ktnet mesh --mode istio`: a mark in Istio's objects, and out of them again.

The lab has no data plane of Istio's: the objects are what is looked at.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from api_client import ask
from connect_client import OBJECTS, Client, differences

from ktnet.lab.harness import KTNET, Lab, open_lab

pytestmark = pytest.mark.lab

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ISTIO = "/apis/networking.istio.io/v1/namespaces/demo"
KINDS = {"destinationrules": "DestinationRule", "virtualservices": "VirtualService"}
SERVER = ("python3", "-u", "-m", "http.server", "-b", "127.0.0.1", "8080")

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


@pytest.fixture(scope="module")
def bare_lab() -> Iterator[Lab]:
    with (
        open_lab(f"istio-{os.getpid()}") as lab,
        subprocess.Popen(
            lab.exec(*SERVER), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server,
    ):
        try:
            yield lab
        finally:
            server.kill()


@pytest.fixture(scope="module")
def lab(bare_lab: Lab) -> Lab:
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
            bare_lab,
            "POST",
            CRDS,
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.networking.istio.io"},
                "spec": {**spec, "versions": versions},
            },
        )
    return bare_lab


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


@contextmanager
def open_mesh(lab: Lab, mark: str) -> Iterator[Client]:
    process = subprocess.Popen(
        lab.exec(
            *(*KTNET, "mesh", "tomcat", "-n", "demo", "--mode", "istio"),
            *("--expose", "8080", "--version-mark", mark),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            yield Client(process)
        finally:
            process.kill()


def ktnet(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    command = lab.exec(*KTNET, *words, "-n", "demo")
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_istio_nothing_is_changed(bare_lab: Lab) -> None:
    """First of all: the lab has no such kinds yet."""
    before = bare_lab.census()
    with open_mesh(bare_lab, "alice") as client:
        code, err = client.wait()
    assert code == 11
    assert "Istio isn't installed" in err
    assert "--mode auto" in err
    assert differences(before, bare_lab.census(), *OBJECTS) == []


def test_marked_requests_are_led_here_and_nothing_of_it_stays(lab: Lab) -> None:
    cluster = lab.census()
    with existing(lab) as before, open_mesh(lab, "alice") as client:
        client.wait_for("ready")
        shop = read(lab)["virtualservices/shop"]["spec"]
        assert [each.get("name") for each in shop["http"]] == [
            "ktnet-alice",
            "canary",
            None,
            "ktnet-alice/2",
            "everything",
        ]
        assert [shop["http"][each] for each in (1, 2, 4)] == ROUTES["http"]
        header = {"version": {"exact": "alice"}}
        assert shop["http"][0] == {
            "name": "ktnet-alice",
            "match": [
                {
                    "uri": {"prefix": "/api"},
                    "headers": {"end-user": {"exact": "jason"}, **header},
                },
                {"queryParams": {"canary": {"exact": "1"}}, "headers": header},
            ],
            "rewrite": {"uri": "/"},
            "route": [{"destination": {"host": "tomcat", "subset": "ktnet-alice"}}],
        }
        assert shop["http"][3] == {
            "name": "ktnet-alice/2",
            "match": [{"headers": header}],
            "timeout": "5s",
            "route": [
                {
                    "destination": {
                        "host": "tomcat.demo.svc.cluster.local",
                        "subset": "ktnet-alice",
                        "port": {"number": 80},
                    }
                }
            ],
        }
        rule = read(lab)["destinationrules/shop"]["spec"]
        assert rule["subsets"] == [
            *SUBSETS["subsets"],
            {"name": "ktnet-alice", "labels": {"version": "alice"}},
        ]
        assert "random share" not in "".join(client.lines)
        assert client.end() == (0, "")
        assert read(lab) == before
    assert differences(cluster, lab.census(), *OBJECTS) == []


def test_a_killed_sessions_rules_are_removed_by_another_command(lab: Lab) -> None:
    with existing(lab) as before:
        with open_mesh(lab, "bob") as client:
            client.wait_for("ready")
            client.process.kill()
            client.wait()
        assert read(lab) != before
        refused = ktnet(lab, "recover", "tomcat")
        assert refused.returncode == 10
        assert "the mark version: bob" in refused.stderr
        done = ktnet(lab, "recover", "tomcat", "--force")
        assert (done.returncode, done.stderr) == (0, "")
        assert "is without ktnet-bob" in done.stdout
        assert read(lab) == before
