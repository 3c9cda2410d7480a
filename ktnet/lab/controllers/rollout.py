"""How a Deployment's ReplicaSets share its replicas while one template replaces another. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from ktnet.lab.controllers.kind import (
    Obj,
    build_controller_reference,
    is_finished_pod,
    labels_of,
    parse_time,
)

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HASH_LABEL = "pod-template-hash"

_SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no digits that look like letters, so that no hash spells a word."""


@dataclass(frozen=True)
class Bounds:
    """What a rolling update may do: `surge` pods too many, `unavailable` too few."""

    surge: int
    unavailable: int


def build_bounds(deployment: Obj) -> Bounds:
    """From spec.strategy; percentages of the replicas, surge rounded up, unavailable down."""
    spec = deployment["spec"]
    rolling = (spec.get("strategy") or {}).get("rollingUpdate")
    if not rolling:
        return Bounds(0, 0)
    replicas = spec["replicas"]
    surge = math.ceil(_portion(rolling.get("maxSurge", 0), replicas))
    unavailable = math.floor(_portion(rolling.get("maxUnavailable", 0), replicas))
    if not surge and not unavailable:
        unavailable = 1  # else nothing could ever move
    return Bounds(surge, unavailable)


def _portion(value: int | str, whole: int) -> float:
    return whole * int(value.rstrip("%")) / 100 if isinstance(value, str) else float(value)


def hash_template(template: Obj) -> str:
    """A short name of a pod template: FNV-1a, 32 bits, in letters that spell nothing."""
    value = 0x811C9DC5
    for byte in json.dumps(template, sort_keys=True).encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(_SAFE_LETTERS[int(digit) % len(_SAFE_LETTERS)] for digit in str(value))


def find_current(deployment: Obj, replicasets: list[Obj]) -> Obj | None:
    """The oldest ReplicaSet of the Deployment's present template."""
    template = _without_hash(deployment["spec"]["template"])
    same = [
        replicaset
        for replicaset in replicasets
        if _without_hash(replicaset["spec"]["template"]) == template
    ]
    return min(
        same, key=lambda each: parse_time(each["metadata"]["creationTimestamp"]), default=None
    )


def _without_hash(template: Obj) -> Obj:
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**meta, "labels": labels}}


def build_replicaset(deployment: Obj, replicasets: list[Obj]) -> Obj:
    """The ReplicaSet of a template that has none yet."""
    spec, meta = deployment["spec"], deployment["metadata"]
    template_hash = hash_template(spec["template"])
    labels = {**labels_of(spec["template"]), HASH_LABEL: template_hash}
    selector = spec["selector"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{template_hash}",
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": {
                **build_annotations(deployment),
                REVISION: str(max(map(revision_of, replicasets), default=0) + 1),
            },
            "ownerReferences": [build_controller_reference(deployment)],
        },
        "spec": {
            "replicas": count_new(deployment, 0, replicasets),
            **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            "selector": {
                **selector,
                "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: template_hash},
            },
            "template": {
                **spec["template"],
                "metadata": {**(spec["template"].get("metadata") or {}), "labels": labels},
            },
        },
    }


def build_annotations(deployment: Obj) -> dict[str, str]:
    """What a scaled ReplicaSet remembers of its Deployment."""
    replicas = deployment["spec"]["replicas"]
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + build_bounds(deployment).surge)}


def revision_of(obj: Obj) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def count_new(deployment: Obj, present: int, replicasets: list[Obj]) -> int:
    """How many replicas the ReplicaSet of the present template (having `present`) is to have."""
    desired = deployment["spec"]["replicas"]
    if deployment["spec"]["strategy"]["type"] == "Recreate" or present >= desired:
        return int(desired)
    total = sum(each["spec"]["replicas"] for each in replicasets)
    room = desired + build_bounds(deployment).surge - total
    return int(present + max(0, min(room, desired - present)))


def count_old(deployment: Obj, current: Obj, old: list[Obj]) -> dict[str, int]:
    """New replica counts, by name, of the ReplicaSets of former templates.

    Pods that aren't available go first: they serve nobody.
    """
    desired = deployment["spec"]["replicas"]
    minimum = desired - build_bounds(deployment).unavailable
    replicas = {each["metadata"]["name"]: each["spec"]["replicas"] for each in old}
    ready = {each["metadata"]["name"]: _available(each) for each in old}
    starting = max(0, current["spec"]["replicas"] - _available(current))
    may_go = sum(replicas.values()) + current["spec"]["replicas"] - minimum - starting
    wanted = dict(replicas)
    for name, count in replicas.items():
        idle = min(max(may_go, 0), count - min(ready[name], count))
        wanted[name] -= idle
        may_go -= idle
    spare = sum(ready.values()) + _available(current) - minimum
    for name in replicas:
        going = max(0, min(spare, may_go, wanted[name]))
        wanted[name] -= going
        spare -= going
        may_go -= going
    return {name: count for name, count in wanted.items() if count != replicas[name]}


def _available(replicaset: Obj) -> int:
    return int((replicaset.get("status") or {}).get("availableReplicas", 0))


def is_gone(old: list[Obj], pods: list[Obj]) -> bool:
    """Whether no pod of a former template runs any more: what Recreate waits for."""
    uids = {each["metadata"]["uid"] for each in old}
    return not any(
        reference["uid"] in uids
        for pod in pods
        if not is_finished_pod(pod)
        for reference in pod["metadata"].get("ownerReferences") or []
    )
