"""Namespaces: what each one holds from its birth on, and how a dying one is emptied."""

from __future__ import annotations

from collections.abc import Iterable

from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import (
    Action,
    Create,
    SetStatus,
    apply_action,
    build_delete,
    find,
)
from ktnet.lab.controllers.kind import Clock, Obj, format_time, is_being_deleted
from ktnet.lab.controllers.loop import Key

FIRST = ("deployments", "statefulsets", "replicasets", "jobs", "pods", "services")
"""What makes other objects, before what it makes; Events go last, as they tell of the others."""

ROOT_CA = "kube-root-ca.crt"
ROOT_CA_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


def list_content(store: Store) -> list[str]:
    """What may lie in a namespace, in the order in which a dying one is emptied."""
    namespaced = [each.key for each in store.catalog.list_stored() if each.namespaced]
    rest = sorted(set(namespaced) - {*FIRST, "events"})
    return [*FIRST, *rest, "events"]


def plan_contents(namespace: Obj, present: frozenset[tuple[str, str]], ca_pem: str) -> list[Action]:
    """Creates the `default` ServiceAccount and the CA's ConfigMap where they are missing.

    `present` holds (plural, name) of what is there.
    """
    name = namespace["metadata"]["name"]
    wanted: list[tuple[str, Obj]] = [
        (
            "serviceaccounts",
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name},
            },
        ),
        (
            "configmaps",
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": ROOT_CA,
                    "namespace": name,
                    "annotations": {"kubernetes.io/description": ROOT_CA_DESCRIPTION},
                },
                "data": {"ca.crt": ca_pem},
            },
        ),
    ]
    return [
        Create(plural, name, obj)
        for plural, obj in wanted
        if (plural, obj["metadata"]["name"]) not in present
    ]


EMPTIED = (
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
)
"""Type, reason and message of each, in their order; all of them are False when nothing is left
(pkg/controller/namespace/deletion/status_condition_utils.go)."""


def build_emptied(now: str) -> list[Obj]:
    """The conditions of a namespace that goes now."""
    return [
        {
            "type": kind,
            "status": "False",
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        for kind, reason, message in EMPTIED
    ]


class NamespaceController:
    """Fills new namespaces and empties those that are being deleted."""

    def __init__(self, store: Store, ca_pem: str, clock: Clock) -> None:
        self.watched = ("namespaces", *list_content(store))
        self._store = store
        self._ca_pem = ca_pem
        self._clock = clock

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        if plural == "namespaces":
            yield (None, obj["metadata"]["name"]), 0.0
        elif kind == "DELETED":
            # The default ServiceAccount comes back; a dying namespace may be empty now.
            yield (None, obj["metadata"]["namespace"]), 0.0

    def reconcile(self, key: Key) -> float | None:
        namespace = find(self._store, "namespaces", None, key[1])
        if namespace is None:
            return None
        if is_being_deleted(namespace):
            self._empty(namespace)
            return None
        present = frozenset(
            (plural, obj["metadata"]["name"])
            for plural in ("serviceaccounts", "configmaps")
            for obj in self._store.list(plural, key[1])
        )
        for action in plan_contents(namespace, present, self._ca_pem):
            apply_action(self._store, action)
        return None

    def _empty(self, namespace: Obj) -> None:
        name = namespace["metadata"]["name"]
        content = list_content(self._store)
        for plural in content:
            for obj in self._store.list(plural, name):
                if not is_being_deleted(obj):
                    apply_action(self._store, build_delete(plural, obj, propagation="Background"))
        if any(self._store.list(plural, name) for plural in content):
            return
        status = {**namespace["status"], "conditions": build_emptied(format_time(self._clock()))}
        apply_action(self._store, SetStatus("namespaces", namespace, status))
        namespace = self._store.get("namespaces", None, name)
        self._store.update(
            "namespaces", None, name, {**namespace, "spec": {}}, subresource="finalize"
        )
