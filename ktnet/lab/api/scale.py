"""The /scale of Deployments, ReplicaSets and StatefulSets. Pure.

kubernetes.io/docs/reference/kubernetes-api/workload-resources/ (autoscaling/v1 Scale). Its encoder
leaves `spec.replicas` out at 0, so a JSON patch can't test for 0.
"""

from __future__ import annotations

import copy

from ktnet.lab.api.errors import Obj, invalid
from ktnet.lab.api.fieldcheck import FieldCheck


def build_scale(obj: Obj) -> Obj:
    meta = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = obj["spec"].get("replicas", 0)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": format_selector(obj["spec"].get("selector") or {}),
        },
    }


def apply_scale(obj: Obj, scale: Obj) -> Obj:
    """The object with as many replicas as a Scale says; raises ApiError 422."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    check = FieldCheck()
    check.not_negative("spec.replicas", replicas)
    if check.causes:
        raise invalid("autoscaling", "Scale", obj["metadata"]["name"], check.causes)
    return copy.deepcopy({**obj, "spec": {**obj["spec"], "replicas": replicas}})


def format_selector(selector: Obj) -> str:
    """A LabelSelector as a string: what /scale shows to autoscalers."""
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], ",".join(sorted(expression.get("values") or []))
        match expression["operator"]:
            case "Exists":
                terms.append(key)
            case "DoesNotExist":
                terms.append(f"!{key}")
            case operator:
                terms.append(f"{key} {operator.lower()} ({values})")
    return ",".join(sorted(terms))
