"""Finished Jobs go ttlSecondsAfterFinished after their end, and with them what they own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import apply_action, build_delete, find
from ktnet.lab.controllers.kind import Clock, Obj, condition_of, is_being_deleted, parse_time
from ktnet.lab.controllers.loop import Key


def expires_in_s(job: Obj, now: datetime) -> float | None:
    """Seconds until a Job is to be deleted; None for one that isn't finished or has no ttl."""
    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
    if ttl_s is None or is_being_deleted(job):
        return None
    for kind in ("Complete", "Failed"):
        condition = condition_of(job, kind)
        if condition is not None and condition["status"] == "True":
            age_s = (now - parse_time(condition["lastTransitionTime"])).total_seconds()
            return max(0.0, float(ttl_s) - age_s)
    return None


class TtlController:
    """Deletes Jobs in the foreground: they stay until what blocks them is gone."""

    watched = ("jobs",)

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def dirty(self, plural: str, kind: str, obj: Obj) -> Iterable[tuple[Key, float]]:
        yield (obj["metadata"]["namespace"], obj["metadata"]["name"]), 0.0

    def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        job = find(self._store, "jobs", namespace, name)
        if job is None:
            return None
        remaining_s = expires_in_s(job, self._clock())
        if remaining_s == 0.0:
            apply_action(self._store, build_delete("jobs", job, propagation="Foreground"))
            return None
        return remaining_s
