"""Meshes that are killed: how they begin in each mode, and what they change."""

from __future__ import annotations

import json
from functools import partial
from typing import Literal

import istio_objects
from exchange_state import KINDS
from inbound_scene import kubectl
from killing import LABEL, Place, Sessions, State, create

from ktnet.cluster.istio.record import ANNOTATION as ISTIO_ANNOTATION
from ktnet.lab.harness import Lab
from ktnet.wire.meshrecord import ANNOTATION

Mode = Literal["auto", "istio", "manual"]

_ACCOUNT = [f"POST */{plural}" for plural in ("serviceaccounts", "roles", "rolebindings")]

CHANGES = {
    "auto": [
        *((request, 1) for request in _ACCOUNT),
        *(("POST */deployments", 1), ("POST */services", 1)),
        *((request, 2) for request in _ACCOUNT),
        *(("POST */poddisruptionbudgets", 1), ("PATCH */deployments/*", 1), ("POST */leases", 1)),
        *(("PATCH */services/*", 1), ("PATCH */services/*", 2)),
        *(("PATCH */deployments/*", 2), ("DELETE */deployments/*", 1)),
    ],
    "istio": [
        *(("POST */jobs", 1), ("POST */leases", 1)),
        *(("PATCH */destinationrules/*", 1), ("PATCH */virtualservices/*", 1)),
        *(("PATCH */virtualservices/*", 2), ("PATCH */destinationrules/*", 2)),
        ("DELETE */jobs/*", 1),
    ],
    "manual": [("POST */jobs", 1), ("POST */leases", 1), ("DELETE */jobs/*", 1)],
}
"""Each request by which a session changes something, and the how manieth of its kind it is; the
account's are tried first."""

_ROUTERS = ("deployments", "-l", "app.kubernetes.io/name=ktnet-router")


def build_sessions(mode: Mode) -> Sessions:
    """`ktnet mesh --mode MODE`."""
    is_auto = mode == "auto"
    return Sessions(
        build_command=lambda place: build_command(mode, place, "alice"),
        build_title=lambda place: place.name,
        is_taken=partial(_is_taken, mode),
        owner=_ROUTERS if is_auto else ("jobs", *LABEL),
        slow="* *-router-*" if is_auto else "Job *",
        kinds=KINDS if mode != "istio" else (*KINDS, *istio_objects.KINDS),
    )


def build_command(mode: Mode, place: Place, mark: str) -> tuple[str, ...]:
    """A session with that mark."""
    where = ("-n", place.namespace, "--expose", "8080", "--idle", "3600")
    return ("mesh", place.name, "--mode", mode, "--version-mark", mark, *where)


def _is_taken(mode: Mode, state: State, place: Place) -> bool:
    kinds = {"auto": ["Service"], "istio": ["DestinationRule", "VirtualService"]}.get(mode, [])
    annotation = ANNOTATION if mode == "auto" else ISTIO_ANNOTATION
    objects = [state[f"{kind} {place.namespace}/{place.name}"] for kind in kinds]
    return any(annotation in each["metadata"].get("annotations", {}) for each in objects)


def make_rules(lab: Lab, places: list[Place]) -> None:
    """A team's Istio objects for each of the Services."""
    istio_objects.add_kinds(lab)
    specs = {"VirtualService": istio_objects.ROUTES, "DestinationRule": istio_objects.SUBSETS}
    items = []
    for place in places:
        for kind, spec in specs.items():
            text = json.dumps(spec).replace("tomcat.demo", f"tomcat.{place.namespace}")
            items.append(
                {
                    "apiVersion": "networking.istio.io/v1",
                    "kind": kind,
                    "metadata": {"name": place.name, "namespace": place.namespace},
                    "spec": json.loads(text.replace("tomcat", place.name)),
                }
            )
    create(lab, items)


def list_leases(lab: Lab) -> set[str]:
    """Of all sessions in the demo's namespace."""
    return {name.partition("/")[2] for name in kubectl(lab, "get", "leases", "-o", "name").split()}
