"""How long a Job waits before it makes a pod again: 10 s, doubled with each failure. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ktnet.lab.controllers.kind import Obj, condition_of, parse_time

FIRST_S = 10.0
LAST_S = 600.0
"""kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy."""


@dataclass(frozen=True)
class Backoff:
    """The failures of a Job's pods since the last success, and when the last of them was."""

    failures: int = 0
    last: datetime | None = None

    def after_failures(self, pods: list[Obj]) -> Backoff:
        if not pods:
            return self
        last = max(finish_time(pod) for pod in pods)
        return Backoff(
            self.failures + len(pods), last if self.last is None else max(self.last, last)
        )

    def wait_s(self, now: datetime) -> float:
        """Seconds until the next pod may be made."""
        if self.last is None:
            return 0.0
        pause_s = min(FIRST_S * 2.0 ** (self.failures - 1), LAST_S)
        return max(0.0, pause_s - (now - self.last).total_seconds())


def finish_time(pod: Obj) -> datetime:
    """When a failed pod's containers ended; of a deleted one, when its deletion was asked for."""
    meta, status = pod["metadata"], pod.get("status") or {}
    ends = [
        parse_time(ended["finishedAt"])
        for container in status.get("containerStatuses") or []
        if (ended := (container.get("state") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    if ends:
        return max(ends)
    if meta.get("deletionTimestamp"):
        # The timestamp says when the pod is to be gone.
        grace = timedelta(seconds=meta.get("deletionGracePeriodSeconds") or 0)
        return parse_time(meta["deletionTimestamp"]) - grace
    ready = condition_of(pod, "Ready")
    if ready is not None and ready["status"] == "False":
        return parse_time(ready["lastTransitionTime"])
    return parse_time(meta["creationTimestamp"])
