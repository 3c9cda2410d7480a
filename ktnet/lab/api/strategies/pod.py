"""Pods: defaults, what admission adds, quality of service, what an update may change."""

from __future__ import annotations

import copy
from datetime import datetime

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.metadata import format_time, random_suffix
from ktnet.lab.api.strategies.podspec import (
    CONTAINER_LISTS,
    MODE_0644,
    check_pod_spec,
    default_pod_spec,
)
from ktnet.lab.api.strategies.strategy import Strategy, put_default

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  (a path)
TOKEN_LIFETIME_S = 3607
"""An hour and the odd seconds by which Kubernetes recognises its own request for it."""

EVICTION_AFTER_S = 300
"""A pod stays this long on a node that is not ready (admission plugin DefaultTolerationSeconds)."""

_IMMUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)\n"
)


class PodStrategy(Strategy):
    returns_deleted = True
    has_status = True
    has_generation = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_pod_spec(spec)
        put_default(spec, enableServiceLinks=True)

    def prepare_create(self, obj: Obj) -> None:
        _admit(obj["spec"])
        obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(obj["spec"])}

    def check(self, check: FieldCheck, obj: Obj) -> None:
        check_pod_spec(check, obj["spec"], "spec")

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        if _fixed_part(new["spec"]) != _fixed_part(old["spec"]):
            check.forbidden("spec", _IMMUTABLE)

    def present(self, obj: Obj) -> None:
        for condition in obj.get("status", {}).get("conditions", []):
            put_default(condition, lastProbeTime=None, lastTransitionTime=None)
        for container in obj.get("status", {}).get("containerStatuses", []):
            for state in (container.get("state", {}), container.get("lastState", {})):
                if "terminated" in state:
                    put_default(state["terminated"], startedAt=None, finishedAt=None)


def _admit(spec: Obj) -> None:
    """What the admission plugins ServiceAccount, Priority and DefaultTolerationSeconds add."""
    put_default(spec, serviceAccountName="default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    put_default(spec, priority=0, preemptionPolicy="PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(each.get("key") == key for each in tolerations):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": EVICTION_AFTER_S,
                }
            )


def bind_pod(pod: Obj, node: str, now: datetime) -> Obj:
    """A pod with its node, scheduled: one write, as BindingREST.assignPod does it.

    Of the conditions this one alone has no observedGeneration until the kubelet writes it anew
    (recorded in 04-watch/deployment-lifecycle-pods).
    """
    status = pod.get("status", {})
    others = [each for each in status.get("conditions", []) if each["type"] != "PodScheduled"]
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": format_time(now),
    }
    return {
        **pod,
        "spec": {**pod["spec"], "nodeName": node},
        "status": {**status, "conditions": [*others, scheduled]},
    }


def mount_token(spec: Obj) -> None:
    """Mounts a ServiceAccount token into every container that has none, as admission does."""
    name = f"kube-api-access-{random_suffix()}"
    mounted = False
    for which in CONTAINER_LISTS[:2]:
        for container in spec.get(which) or []:
            mounts = container.setdefault("volumeMounts", [])
            if not any(each.get("mountPath") == TOKEN_MOUNT for each in mounts):
                mounts.append({"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT})
                mounted = True
    if not mounted:
        return
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    token = {"expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources: list[Obj] = [
        {"serviceAccountToken": token},
        {"configMap": authority},
        {"downwardAPI": {"items": [namespace]}},
    ]
    volume = {"name": name, "projected": {"sources": sources, "defaultMode": MODE_0644}}
    spec.setdefault("volumes", []).append(volume)


def quality_of_service(spec: Obj) -> str:
    """kubernetes.io/docs/concepts/workloads/pods/pod-qos/."""
    containers = [*(spec.get("initContainers") or []), *spec.get("containers", [])]
    resources = [container.get("resources") or {} for container in containers]
    if not any(each.get("limits") or each.get("requests") for each in resources):
        return "BestEffort"
    for each in resources:
        limits, requests = each.get("limits") or {}, each.get("requests") or {}
        if not {"cpu", "memory"} <= limits.keys():
            return "Burstable"
        if any(requests.get(key, limits[key]) != limits[key] for key in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _fixed_part(spec: Obj) -> Obj:
    """A PodSpec without what may change."""
    fixed = copy.deepcopy(spec)
    for key in ("activeDeadlineSeconds", "tolerations", "nodeName"):
        fixed.pop(key, None)
    for which in CONTAINER_LISTS[:2]:
        for container in fixed.get(which) or []:
            container.pop("image", None)
    return fixed
