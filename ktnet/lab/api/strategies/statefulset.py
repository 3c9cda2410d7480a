"""StatefulSets, and the ControllerRevisions in which their history is kept.

kubernetes.io/docs/reference/kubernetes-api/workload-resources/stateful-set-v1/; the defaults are
those of pkg/apis/apps/v1/defaults.go, the checks those of pkg/apis/apps/validation/validation.go.
"""

from __future__ import annotations

from ktnet.lab.api.errors import Obj, not_supported
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.strategy import Strategy, put_default
from ktnet.lab.api.strategies.workload import ReplicaSetStrategy

POD_MANAGEMENT = ("OrderedReady", "Parallel")
UPDATE_STRATEGIES = ("OnDelete", "RollingUpdate")
_MAY_CHANGE = frozenset(
    {
        *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"),
        *("persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
    }
)
_FROZEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


class StatefulSetStrategy(ReplicaSetStrategy):
    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        put_default(spec, serviceName="", podManagementPolicy=POD_MANAGEMENT[0])
        update = spec.setdefault("updateStrategy", {})
        put_default(update, type="RollingUpdate")
        if update["type"] == "RollingUpdate":
            put_default(update.setdefault("rollingUpdate", {}), partition=0)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        put_default(retention, whenDeleted="Retain", whenScaled="Retain")
        put_default(spec, revisionHistoryLimit=10)

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"replicas": 0, "availableReplicas": 0}

    def check(self, check: FieldCheck, obj: Obj) -> None:
        super().check(check, obj)
        spec = obj["spec"]
        if spec.get("volumeClaimTemplates"):
            raise not_supported("volumeClaimTemplates: it has no volumes that outlive a pod")
        check.not_negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
        if spec["podManagementPolicy"] not in POD_MANAGEMENT:
            check.invalid(
                "spec.podManagementPolicy",
                spec["podManagementPolicy"],
                "must be 'OrderedReady' or 'Parallel'",
            )
        kind = spec["updateStrategy"].get("type")
        if kind not in UPDATE_STRATEGIES:
            check.invalid("spec.updateStrategy", spec["updateStrategy"], "must be valid")

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        frozen = [{k: v for k, v in o["spec"].items() if k not in _MAY_CHANGE} for o in (new, old)]
        if frozen[0] != frozen[1]:
            check.forbidden("spec", _FROZEN)

    def present(self, obj: Obj) -> None:
        put_default(obj.setdefault("status", {}), replicas=0, availableReplicas=0)


class ControllerRevisionStrategy(Strategy):
    """kubernetes.io/docs/reference/kubernetes-api/workload-resources/controller-revision-v1/."""

    def check(self, check: FieldCheck, obj: Obj) -> None:
        check.not_negative("revision", obj.get("revision"))

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        check.immutable("data", new.get("data"), old.get("data"))

    def present(self, obj: Obj) -> None:
        put_default(obj, revision=0)
