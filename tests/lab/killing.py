"""Sessions that are killed, many of them before anybody looks: where, how, and what is done then.

Killed sessions lie in a namespace for each way in which people put things right, each session on a
workload of its own, so that one command there has to put right what many of them left.

  request 1 -> clean/app-0    2 -> elsewhere/app-0    3 -> owner-gone/app-0    4 -> lease-gone/app-0
          5 -> clean/app-1    ...
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from api_client import request
from connect_client import wait_until
from exchange_state import KINDS, keep
from forked_command import run_command

from ktnet.cluster.shadow.manifests import build_micro_time
from ktnet.lab.harness import Lab

AFTERMATHS = ("clean", "elsewhere", "owner-gone", "lease-gone")
"""The namespaces. "elsewhere": recover and clean on another machine; "owner-gone", "lease-gone":
that object was deleted first."""

LABEL = ("-l", "app.kubernetes.io/managed-by=ktnet")
_STARTING_S = 90.0
"""A Job without a Lease is left alone for 30 s, a router for a minute."""

State = dict[str, Any]


class Place(NamedTuple):
    """Where a session is to be killed."""

    namespace: str
    name: str


class Sessions(NamedTuple):
    """Those that are killed: of one command in one mode."""

    build_command: Callable[[Place], tuple[str, ...]]
    """`ktnet` words by which one begins there."""
    build_title: Callable[[Place], str]
    """What `recover` is asked for."""
    is_taken: Callable[[State, Place], bool]
    """Whether there is something that `recover` can put back."""
    owner: tuple[str, ...]
    """kubectl's words for the objects that own what the sessions have made."""
    slow: str
    """A pattern: what others than its maker leave alone for minutes, where it has no Lease."""
    kinds: tuple[str, ...] = KINDS
    """Of all objects that they make or change."""


def list_places(size: int) -> list[Place]:
    """So many in each namespace, in the order in which sessions are killed there."""
    return [Place(where, f"app-{number}") for number in range(size) for where in AFTERMATHS]


def make_workloads(lab: Lab, places: list[Place], replicas: int) -> None:
    """Deployments whose pods do nothing, each with its Service, in new namespaces."""
    items: list[State] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in AFTERMATHS
    ]
    for place in places:
        items += _build_workload(place, replicas)
    create(lab, items)


def create(lab: Lab, items: list[State]) -> None:
    """All of these objects."""
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


def read_state(lab: Lab, sessions: Sessions) -> State:
    """All objects of their kinds in all namespaces, but for what counts changes."""
    listing = json.loads(lab.run("kubectl", "get", "-A", ",".join(sessions.kinds), "-o", "json"))
    return {
        f"{obj['kind']} {obj['metadata'].get('namespace')}/{obj['metadata']['name']}": keep(obj)
        for obj in listing["items"]
    }


class Outcome(NamedTuple):
    """Of a session that was to be killed at its n-th request."""

    has_come: bool
    """False: from its beginning to its end it made fewer."""
    is_killed: bool
    """Where that came and wasn't done before the end, as a watch may not be, nothing is "after"
    it."""


def run_until_killed(lab: Lab, *words: str, number: int, **fault: Any) -> Outcome:
    """A session from its beginning to its end, or to its n-th request."""
    lab.fault("on-request", deed="kill", agent="ktnet/*", number=number, **fault)
    try:
        code, out, err = run_command(lab, *words)
        (told,) = lab.fault("show")["requests"]
    finally:
        lab.fault("clear")
    assert "Traceback" not in err, err
    assert code == (-signal.SIGKILL if told["killed"] else 0), (code, out, err)
    return Outcome(told["seen"] >= number, bool(told["killed"]))


class Killing:
    """Sessions killed one after the other, put right whenever there is no more room."""

    def __init__(self, lab: Lab, sessions: Sessions, places: list[Place]) -> None:
        """`places`: where their workloads are."""
        self._lab, self._sessions, self._places = lab, sessions, places
        self._before = read_state(lab, sessions)
        self._used: list[Place] = []
        self.killed = 0

    def kill(self, **fault: Any) -> Outcome:
        """At one request; the next session lies in the next namespace."""
        if len(self._used) == len(self._places):
            self.clear_up()
        place = self._places[len(self._used)]
        self._used.append(place)
        outcome = run_until_killed(self._lab, *self._sessions.build_command(place), **fault)
        self.killed += outcome.is_killed
        return outcome

    def is_taken(self) -> bool:
        """Whether the last session holds what it took."""
        return self._used[-1] in self._list_taken(self._used[-1].namespace)

    def clear_up(self) -> None:
        """What people do then, in each namespace in its way; all has to be as it was."""
        self._delete("owner-gone", *self._sessions.owner)
        self._delete("lease-gone", "leases", *LABEL)
        self._recover(self._list_taken("elsewhere", "lease-gone"))
        assert self._list_taken("elsewhere", "lease-gone") == []
        make_leases_old(self._lab, *AFTERMATHS)
        _run_well(self._lab, "clean", "-n", "elsewhere", "--all-users", laptop=2)
        # What has no Lease is left alone by others for minutes; by whose it is, it is not.
        wait_until(lambda: self._are_slow(self._list_changed("elsewhere")), 20)
        for namespace in AFTERMATHS:
            wait_until(lambda name=namespace: self._is_clean(name), _STARTING_S)  # type: ignore[misc]
        assert self._list_changed() == []
        self._used = []

    def _delete(self, namespace: str, *what: str) -> None:
        self._lab.run("kubectl", "delete", "-n", namespace, *what)

    def _recover(self, taken: list[Place]) -> None:
        for place in taken:
            if place.namespace == "elsewhere":
                # Its holder's Lease says that it is alive yet.
                title = self._sessions.build_title(place)
                _run_well(self._lab, "recover", title, "-n", "elsewhere", "--force", laptop=2)
        if any(each.namespace == "lease-gone" for each in taken):
            _run_well(self._lab, "recover", "-n", "lease-gone")

    def _list_taken(self, *namespaces: str) -> list[Place]:
        state = read_state(self._lab, self._sessions)
        places = [each for each in self._used if each.namespace in namespaces]
        return [each for each in places if self._sessions.is_taken(state, each)]

    def _list_changed(self, namespace: str = "") -> list[str]:
        """The objects that are otherwise than they were."""
        before, after = self._before, read_state(self._lab, self._sessions)
        names = [each for each in {*before, *after} if namespace in each.partition("/")[0]]
        return sorted(each for each in names if before.get(each) != after.get(each))

    def _are_slow(self, names: list[str]) -> bool:
        made = [each for each in names if each not in self._before]
        return names == made and all(fnmatchcase(each, self._sessions.slow) for each in made)

    def _is_clean(self, namespace: str) -> bool:
        """Whether nothing is left there, once more has been cleaned where need be."""
        if self._list_changed(namespace) == []:
            return True
        _run_well(self._lab, "clean", "-n", namespace)
        return self._list_changed(namespace) == []


def _run_well(lab: Lab, *words: str, laptop: int = 1) -> None:
    ended = run_command(lab, *words, laptop=laptop)
    assert (ended.code, ended.err) == (0, ""), ended


def make_leases_old(lab: Lab, *namespaces: str, besides: Collection[str] = ()) -> None:
    """As if the holders of all Leases there besides these had been silent for long."""
    lab.call(_make_old, str(lab.directory / "kubeconfig"), namespaces, frozenset(besides))


def _make_old(kubeconfig: str, namespaces: tuple[str, ...], besides: frozenset[str]) -> None:
    """To be called in a laptop."""
    renewed = build_micro_time(datetime.now(UTC) - timedelta(seconds=1000))
    group = "/apis/coordination.k8s.io/v1"
    for lease in request("GET", kubeconfig, f"{group}/leases")["items"]:
        metadata = lease["metadata"]
        if metadata["namespace"] in namespaces and metadata["name"] not in besides:
            path = f"{group}/namespaces/{metadata['namespace']}/leases/{metadata['name']}"
            request("PATCH", kubeconfig, path, {"spec": {"renewTime": renewed}})
