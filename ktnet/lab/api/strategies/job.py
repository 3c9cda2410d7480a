"""Jobs: defaults, the selector that the server makes, and what can't change."""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.podspec import check_template, default_pod_spec
from ktnet.lab.api.strategies.strategy import Strategy, put_default

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"


class JobStrategy(Strategy):
    has_status = True
    has_generation = True
    orphans_by_default = True
    delete_warning = (
        "child pods are preserved by default when jobs are deleted; set "
        "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress "
        "this warning"
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if "completions" not in spec and "parallelism" not in spec:
            spec["completions"] = 1
        put_default(spec, parallelism=1, backoffLimit=6, manualSelector=False)
        template = spec.setdefault("template", {})
        template.setdefault("metadata", {}).pop("creationTimestamp", None)
        default_pod_spec(template.setdefault("spec", {}))
        put_default(spec, completionMode="NonIndexed", suspend=False)
        replacement = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
        put_default(spec, podReplacementPolicy=replacement)

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {}
        spec, meta = obj["spec"], obj["metadata"]
        labels = dict(spec["template"]["metadata"].get("labels") or {})
        if not spec["manualSelector"]:
            uid, name = meta["uid"], meta.get("name", "")
            labels |= {CONTROLLER_UID: uid, "batch.kubernetes.io/job-name": name}
            labels |= {"controller-uid": uid, "job-name": name}
            spec["selector"] = {"matchLabels": {CONTROLLER_UID: uid}}
        spec["template"]["metadata"]["labels"] = labels
        if not meta.get("labels"):
            meta["labels"] = dict(labels)

    def check(self, check: FieldCheck, obj: Obj) -> None:
        spec = obj["spec"]
        for key in (
            "parallelism",
            "completions",
            "activeDeadlineSeconds",
            "backoffLimit",
            "ttlSecondsAfterFinished",
        ):
            check.not_negative(f"spec.{key}", spec.get(key))
        check_template(check, spec["template"], "spec.template")
        if spec["template"]["spec"]["restartPolicy"] == "Always":
            check.required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        after, before = new["spec"], old["spec"]
        for key in ("completions", "selector", "completionMode", "podFailurePolicy"):
            check.immutable(f"spec.{key}", after.get(key), before.get(key))
        if not _may_change_template(old):
            check.immutable("spec.template", after["template"], before["template"])

    def present(self, obj: Obj) -> None:
        obj.setdefault("status", {})


def _may_change_template(job: Obj) -> bool:
    """A Job that is suspended and never ran may still change how it is scheduled (KEP-2926)."""
    return bool(job["spec"].get("suspend")) and "startTime" not in job.get("status", {})
