"""Deployments and ReplicaSets: what stamps out pods from a template."""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.podspec import check_template, default_pod_spec
from ktnet.lab.api.strategies.strategy import Strategy, put_default


class ReplicaSetStrategy(Strategy):
    has_status = True
    has_generation = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        put_default(spec, replicas=1)
        template = spec.setdefault("template", {})
        template.setdefault("metadata", {}).pop("creationTimestamp", None)
        default_pod_spec(template.setdefault("spec", {}))
        put_default(spec, selector={})

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"replicas": 0}

    def check(self, check: FieldCheck, obj: Obj) -> None:
        spec = obj["spec"]
        check.not_negative("spec.replicas", spec["replicas"])
        check.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
        selector, labels = spec["selector"], spec["template"]["metadata"].get("labels") or {}
        if not selector:
            check.required("spec.selector")
        elif not (selector.get("matchLabels") or {}).items() <= labels.items():
            check.invalid(
                "spec.template.metadata.labels",
                labels,
                "`selector` does not match template `labels`",
            )
        check_template(check, spec["template"], "spec.template")
        if spec["template"]["spec"]["restartPolicy"] != "Always":
            check.unsupported(
                "spec.template.spec.restartPolicy",
                spec["template"]["spec"]["restartPolicy"],
                ("Always",),
            )

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        check.immutable("spec.selector", new["spec"]["selector"], old["spec"]["selector"])

    def present(self, obj: Obj) -> None:
        obj.setdefault("status", {}).setdefault("replicas", 0)


class DeploymentStrategy(ReplicaSetStrategy):
    annotations_generate = True

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        strategy = spec.setdefault("strategy", {})
        put_default(strategy, type="RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            put_default(rolling, maxUnavailable="25%", maxSurge="25%")
        put_default(spec, revisionHistoryLimit=10, progressDeadlineSeconds=600)

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {}

    def check(self, check: FieldCheck, obj: Obj) -> None:
        super().check(check, obj)
        kind = obj["spec"]["strategy"]["type"]
        if kind not in {"Recreate", "RollingUpdate"}:
            check.unsupported("spec.strategy.type", kind, ("Recreate", "RollingUpdate"))

    def prepare_status(self, new: Obj, old: Obj) -> None:
        # The deployment controller writes its revision this way: no new generation comes of it.
        annotations = new["metadata"].get("annotations") or {}
        super().prepare_status(new, old)
        kept = old["metadata"].get("annotations") or {}
        new["metadata"] = {**old["metadata"], "annotations": {**kept, **annotations}}

    def present(self, obj: Obj) -> None:
        obj.setdefault("status", {})
