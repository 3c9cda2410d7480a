"""Exchanges that are killed, many of them before anybody looks: where, how, and what is done then.

Killed sessions lie in a namespace for each way in which people put things right, each session on a
workload of its own, so that one command there has to put right what many of them left.

    request 1 -> clean/app-0    2 -> elsewhere/app-0    3 -> job-gone/app-0    4 -> lease-gone/app-0
            5 -> clean/app-1    ...
"""

from __future__ import annotations

import json
import signal
import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from api_client import request
from connect_client import wait_until
from exchange_state import keep
from forked_command import run_command

from ktnet.cluster.shadow.manifests import build_micro_time
from ktnet.lab.harness import Lab
from ktnet.wire.record import ANNOTATION

AFTERMATHS = ("clean", "elsewhere", "job-gone", "lease-gone")
"""The namespaces. "elsewhere": recover and clean on another machine; "job-gone", "lease-gone": that
object was deleted first."""

_ACCOUNT = [(f"POST */{plural}", 1) for plural in ("serviceaccounts", "roles", "rolebindings")]
"""A dry run of each, and then it is made."""

CHANGES = {
    "scale": [
        *_ACCOUNT,
        *(("POST */jobs", 1), ("POST */leases", 1)),
        *((request, 2) for request, _ in _ACCOUNT),
        *(("PATCH */jobs/*", 1), ("PATCH */deployments/*", 1), ("PATCH */deployments/*", 2)),
        ("DELETE */jobs/*", 1),
    ],
    "selector": [
        *_ACCOUNT,
        *(("POST */jobs", 1), ("POST */leases", 1)),
        *((request, 2) for request, _ in _ACCOUNT),
        *(("PATCH */jobs/*", 1), ("POST */services", 1)),
        *(("PATCH */services/*", 1), ("PATCH */services/*", 2), ("DELETE */jobs/*", 1)),
    ],
    "run": [
        *(("POST */jobs", 1), ("POST */leases", 1), ("POST */services", 1)),
        ("DELETE */jobs/*", 1),
    ],
}
"""Each request by which a session changes something, and the how manieth of its kind it is; from
its beginning to its end."""

_KINDS = (
    *("deployments", "statefulsets", "services", "jobs", "leases"),
    *("serviceaccounts", "roles", "rolebindings", "configmaps"),
)
_LABEL = ("-l", "app.kubernetes.io/managed-by=ktnet")
_STARTING_S = 60.0
"""A Job without a Lease is left alone for 30 s."""

State = dict[str, Any]


class Place(NamedTuple):
    """Where a session is to be killed."""

    namespace: str
    name: str


def list_places(size: int) -> list[Place]:
    """So many in each namespace, in the order in which sessions are killed there."""
    return [Place(where, f"app-{number}") for number in range(size) for where in AFTERMATHS]


def make_workloads(lab: Lab, places: list[Place], replicas: int) -> None:
    """Deployments whose pods do nothing, each with its Service."""
    items: list[State] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in AFTERMATHS
    ]
    for place in places:
        items += _build_workload(place, replicas)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"apiVersion": "v1", "kind": "List", "items": items}, file)
        file.flush()
        lab.run("kubectl", "create", "--validate=false", "-f", file.name)


def _build_workload(place: Place, replicas: int) -> list[State]:
    labels = {"app": place.name}
    metadata = {"name": place.name, "namespace": place.namespace}
    container = {"name": "app", "image": "lab/http-echo:1", "command": ["sleep", "inf"]}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        },
    }
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"selector": labels, "ports": ports}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]


def read_state(lab: Lab) -> State:
    """All objects that a session makes or changes, in all namespaces, but for what counts
    changes."""
    listing = json.loads(lab.run("kubectl", "get", "-A", ",".join(_KINDS), "-o", "json"))
    return {
        f"{obj['kind']} {obj['metadata'].get('namespace')}/{obj['metadata']['name']}": keep(obj)
        for obj in listing["items"]
    }


def list_changed(lab: Lab, before: State, namespace: str = "") -> list[str]:
    """The objects that are otherwise than they were."""
    after = read_state(lab)
    names = [each for each in {*before, *after} if f" {namespace}" in each]
    return sorted(each for each in names if before.get(each) != after.get(each))


def build_command(mode: str, place: Place) -> tuple[str, ...]:
    """`ktnet` words by which a session takes that workload, or makes a Service beside it."""
    common = ("-n", place.namespace, "--expose", "8080:8080", "--idle", "3600")
    if mode == "run":
        return ("run", f"own-{place.name}", *common)
    return ("exchange", _build_title(mode, place), "--mode", mode, *common)


def _build_title(mode: str, place: Place) -> str:
    return f"{'deployment' if mode == 'scale' else 'service'}/{place.name}"


class Outcome(NamedTuple):
    """Of a session that was to be killed at its n-th request."""

    has_come: bool
    """False: from its beginning to its end it made fewer."""
    is_killed: bool
    """Where that came and wasn't done before the end, as a watch may not be, nothing is "after"
    it."""


def run_until_killed(lab: Lab, mode: str, place: Place, *, number: int, **fault: Any) -> Outcome:
    """A session from its beginning to its end, or to its n-th request."""
    lab.fault("on-request", deed="kill", agent="ktnet/*", number=number, **fault)
    try:
        code, out, err = run_command(lab, *build_command(mode, place))
        (told,) = lab.fault("show")["requests"]
    finally:
        lab.fault("clear")
    assert "Traceback" not in err, err
    assert code == (-signal.SIGKILL if told["killed"] else 0), (code, out, err)
    return Outcome(told["seen"] >= number, bool(told["killed"]))


def clear_up(lab: Lab, mode: str, killed: list[Place], before: State) -> None:
    """What people do then, in each namespace in its way; all has to be as it was."""
    lab.run("kubectl", "delete", "jobs", "-n", "job-gone", *_LABEL)
    lab.run("kubectl", "delete", "leases", "-n", "lease-gone", *_LABEL)
    state = read_state(lab)
    for place in killed:
        if place.namespace == "elsewhere" and _is_taken(state, mode, place):
            # Its holder's Lease says that it is alive yet.
            title = _build_title(mode, place)
            _run_well(lab, "recover", title, "-n", place.namespace, "--force", laptop=2)
    if any(_is_taken(state, mode, each) for each in killed if each.namespace == "lease-gone"):
        _run_well(lab, "recover", "-n", "lease-gone")
    state = read_state(lab)
    recovered = [each for each in killed if each.namespace in {"elsewhere", "lease-gone"}]
    assert [each for each in recovered if _is_taken(state, mode, each)] == []
    lab.call(make_leases_old, str(lab.directory / "kubeconfig"))
    _run_well(lab, "clean", "-n", "elsewhere", "--all-users", laptop=2)
    # Others' Jobs that have no Lease are left alone for ten minutes; whose they are, may.
    wait_until(lambda: _are_jobs(list_changed(lab, before, "elsewhere/")), 20)
    for namespace in AFTERMATHS:
        wait_until(lambda name=namespace: _is_clean(lab, before, name), _STARTING_S)  # type: ignore[misc]
    assert list_changed(lab, before) == []


def _is_taken(state: State, mode: str, place: Place) -> bool:
    kind = {"scale": "Deployment", "selector": "Service"}.get(mode)
    obj = state.get(f"{kind} {place.namespace}/{place.name}", {})
    return ANNOTATION in obj.get("metadata", {}).get("annotations", {})


def _are_jobs(names: list[str]) -> bool:
    return all(each.startswith("Job ") for each in names)


def _is_clean(lab: Lab, before: State, namespace: str) -> bool:
    """Whether nothing is left there, once more has been cleaned where need be."""
    if list_changed(lab, before, f"{namespace}/") == []:
        return True
    _run_well(lab, "clean", "-n", namespace)
    return list_changed(lab, before, f"{namespace}/") == []


def _run_well(lab: Lab, *words: str, laptop: int = 1) -> None:
    ended = run_command(lab, *words, laptop=laptop)
    assert (ended.code, ended.err) == (0, ""), ended


def make_leases_old(kubeconfig: str) -> None:
    """As if their holders had been silent for long. To be called in a laptop."""
    renewed = build_micro_time(datetime.now(UTC) - timedelta(seconds=1000))
    group = "/apis/coordination.k8s.io/v1"
    for lease in request("GET", kubeconfig, f"{group}/leases")["items"]:
        metadata = lease["metadata"]
        if metadata["namespace"] in AFTERMATHS:
            path = f"{group}/namespaces/{metadata['namespace']}/leases/{metadata['name']}"
            request("PATCH", kubeconfig, path, {"spec": {"renewTime": renewed}})
