"""HorizontalPodAutoscalers (autoscaling/v2): stored, and never acted upon.

kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/; the
defaults are those of pkg/apis/autoscaling/v2/defaults.go, the checks those of
pkg/apis/autoscaling/validation/validation.go.
"""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.strategy import Strategy, put_default

CPU_PERCENT = 80
"""What is aimed at where no metric is named."""


class HorizontalPodAutoscalerStrategy(Strategy):
    has_status = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        put_default(spec, minReplicas=1, scaleTargetRef={}, maxReplicas=0)
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": CPU_PERCENT}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]

    def check(self, check: FieldCheck, obj: Obj) -> None:
        spec = obj["spec"]
        if spec["minReplicas"] < 1:
            why = "must be greater than or equal to 1"
            check.invalid("spec.minReplicas", spec["minReplicas"], why)
        if spec["maxReplicas"] < 1:
            check.invalid("spec.maxReplicas", spec["maxReplicas"], "must be greater than 0")
        if spec["maxReplicas"] < spec["minReplicas"]:
            why = "must be greater than or equal to `minReplicas`"
            check.invalid("spec.maxReplicas", spec["maxReplicas"], why)
        for key in ("kind", "name"):
            if not spec["scaleTargetRef"].get(key):
                check.required(f"spec.scaleTargetRef.{key}")

    def present(self, obj: Obj) -> None:
        put_default(obj.setdefault("status", {}), desiredReplicas=0, currentMetrics=None)
