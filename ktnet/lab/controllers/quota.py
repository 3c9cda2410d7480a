"""ResourceQuotas' status: what is bounded, and how much of it is used.

As pkg/controller/resourcequota/resource_quota_controller.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ktnet.lab.api.quota import count_used
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import SetStatus, apply_action, find
from ktnet.lab.controllers.kind import Obj, is_being_deleted
from ktnet.lab.controllers.loop import Key


class QuotaController:
    """Keeps the status of every ResourceQuota."""

    watched = ("resourcequotas", "pods", "services", "configmaps", "secrets", "jobs")

    def __init__(self, store: Store) -> None:
        self._store = store

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        namespace = obj["metadata"]["namespace"]
        if plural == "resourcequotas":
            yield (namespace, obj["metadata"]["name"]), 0.0
        for quota in self._store.list("resourcequotas", namespace):
            yield (namespace, quota["metadata"]["name"]), 0.0

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        quota = find(self._store, "resourcequotas", namespace, name)
        if quota is None or namespace is None or is_being_deleted(quota):
            return None
        hard = quota["spec"].get("hard") or {}
        used = count_used(
            quota, self._store.catalog, partial(self._store.list, namespace=namespace)
        )
        status = {"hard": hard, "used": used} if hard else {}
        if status != quota.get("status"):
            apply_action(self._store, SetStatus("resourcequotas", quota, status))
        return None
