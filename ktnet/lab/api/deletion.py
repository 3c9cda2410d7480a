"""What a DELETE does to an object: gone at once, or marked and waiting. Pure.

Finalizers and propagation: kubernetes.io/docs/concepts/architecture/garbage-collection/; pods end
gracefully: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination. As in
BeforeDelete of k8s.io/apiserver/pkg/registry/rest/delete.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from ktnet.lab.api.errors import Cause, Obj, conflict, invalid
from ktnet.lab.api.metadata import format_time, parse_time
from ktnet.lab.api.resources import Resource
from ktnet.lab.api.strategies.strategy import Strategy

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
POLICIES = ("Foreground", "Background", "Orphan", "nil")

GRACE_S = 30
"""Of a pod whose spec does not say."""


@dataclass(frozen=True)
class DeleteOptions:
    """kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/."""

    propagation: str | None = None
    grace_s: int | None = None
    uid: str | None = None
    resource_version: str | None = None


class Deleted(NamedTuple):
    """What a DELETE left: the object, or its last state where it is gone."""

    obj: Obj
    gone: bool


def check_options(options: DeleteOptions) -> None:
    """Raises ApiError 422."""
    if options.propagation is None or options.propagation in POLICIES[:3]:
        return
    listed = ", ".join(f'"{each}"' for each in POLICIES)
    message = f'Unsupported value: "{options.propagation}": supported values: {listed}'
    cause = Cause("FieldValueNotSupported", message, "propagationPolicy")
    raise invalid("meta.k8s.io", "DeleteOptions", "", [cause])


def check_preconditions(obj: Obj, resource: Resource, options: DeleteOptions) -> None:
    """Raises ApiError 409."""
    meta = obj["metadata"]
    pairs = (
        ("UID", options.uid, meta["uid"], "deleted and then recreated"),
        ("ResourceVersion", options.resource_version, meta["resourceVersion"], "modified"),
    )
    for label, wanted, found, fate in pairs:
        if wanted is None or wanted == found:
            continue
        if resource.plural == "namespaces":
            # Namespaces check for themselves, before the code that all others share.
            raise conflict(
                resource.group,
                resource.plural,
                meta["name"],
                f"Precondition failed: {label} in precondition: {wanted}, "
                f"{label} in object meta: {found}",
            )
        raise conflict(
            resource.group,
            resource.kind,
            meta["name"],
            f"the {label} in the precondition ({wanted}) does not match the {label} in record "
            f"({found}). The object might have been {fate}",
        )


def plan_deletion(
    obj: Obj, plural: str, strategy: Strategy, options: DeleteOptions, now: datetime
) -> Deleted:
    """The object as it waits for its end, or its last state where it goes at once.

    The same object back, and not gone, means that there is nothing to change.
    """
    if plural == "namespaces":
        waiting = _plan_namespace(obj, now)
        return Deleted(obj, gone=True) if waiting is None else Deleted(waiting, gone=False)
    grace_s = _grace_s(obj, options) if plural == "pods" else 0
    finalizers = _plan_finalizers(obj, strategy, options)
    meta = obj["metadata"]
    gone = grace_s == 0 and not finalizers
    if gone and plural != "pods":
        return Deleted(obj, gone=True)
    dying = {**meta, "finalizers": finalizers}
    if "deletionTimestamp" not in meta:
        if "generation" in meta:
            dying["generation"] = meta["generation"] + 1
        dying["deletionTimestamp"] = format_time(now + timedelta(seconds=grace_s))
        dying["deletionGracePeriodSeconds"] = grace_s
    elif grace_s < meta.get("deletionGracePeriodSeconds", 0):
        # Only ever shorter: the end moves to what it would be, had this been asked at first, but
        # not into the past (recorded in 04-watch/deployment-lifecycle-pods).
        begun = parse_time(meta["deletionTimestamp"]) - timedelta(
            seconds=meta["deletionGracePeriodSeconds"]
        )
        end = max(now, begun + timedelta(seconds=grace_s))
        dying["deletionTimestamp"] = format_time(end)
        dying["deletionGracePeriodSeconds"] = grace_s
    if dying == {**meta, "finalizers": meta.get("finalizers", [])}:
        return Deleted(obj, gone)
    # What ends with grace is marked even where it ends at once.
    return Deleted({**obj, "metadata": dying}, gone)


def is_over(obj: Obj) -> bool:
    """An object that is being deleted and that nothing holds any more."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if obj["kind"] == "Namespace":
        return not obj.get("spec", {}).get("finalizers")
    return not meta.get("deletionGracePeriodSeconds")


def _grace_s(pod: Obj, options: DeleteOptions) -> int:
    phase = pod.get("status", {}).get("phase")
    if not pod["spec"].get("nodeName") or phase in {"Succeeded", "Failed"}:
        return 0
    if options.grace_s is not None:
        return max(0, options.grace_s)
    return int(pod["spec"].get("terminationGracePeriodSeconds", GRACE_S))


def _plan_finalizers(obj: Obj, strategy: Strategy, options: DeleteOptions) -> list[str]:
    finalizers = list(obj["metadata"].get("finalizers") or [])
    policy = options.propagation
    if policy is None:
        if ORPHAN in finalizers or FOREGROUND in finalizers:
            return finalizers
        policy = "Orphan" if strategy.orphans_by_default else "Background"
    kept = [each for each in finalizers if each not in {ORPHAN, FOREGROUND}]
    wanted = {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(policy, [])
    if wanted and wanted[0] in finalizers:
        return finalizers
    return [*kept, *wanted]


def _plan_namespace(namespace: Obj, now: datetime) -> Obj | None:
    if is_over({**namespace, "metadata": {**namespace["metadata"], "deletionTimestamp": "now"}}):
        return None
    if "deletionTimestamp" in namespace["metadata"]:
        return namespace
    return {
        **namespace,
        "metadata": {**namespace["metadata"], "deletionTimestamp": format_time(now)},
        "status": {**namespace.get("status", {}), "phase": "Terminating"},
    }
