"""CustomResourceDefinitions and what they define.

kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/; the
checks and defaults follow apiextensions-apiserver/pkg/apis/apiextensions (v1/defaults.go,
validation/validation.go), the conditions pkg/controller/status/naming_controller.go.
"""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.metadata import format_time, utc_now
from ktnet.lab.api.names import check_label, check_subdomain
from ktnet.lab.api.strategies.strategy import Strategy, keep, put_default

SCOPES = ("Cluster", "Namespaced")


class CustomStrategy(Strategy):
    """Objects of a kind that somebody defined: kept as they are."""

    has_generation = True

    def __init__(self, *, has_status: bool) -> None:
        self.has_status = has_status  # type: ignore[misc]

    def prepare_create(self, obj: Obj) -> None:
        if self.has_status:
            obj.pop("status", None)

    def spec_of(self, obj: Obj) -> Obj:
        # All but metadata counts, and all but status where that is a subresource.
        hidden = {"metadata", "kind", "apiVersion", "status" if self.has_status else ""}
        return {key: value for key, value in obj.items() if key not in hidden}

    def prepare_status(self, new: Obj, old: Obj) -> None:
        status = new.get("status")
        new.clear()
        new.update(old)
        new.pop("status", None)
        if status is not None:
            new["status"] = status


class DefinitionStrategy(Strategy):
    has_status = True
    has_generation = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        names = spec.setdefault("names", {})
        if names.get("kind"):
            put_default(names, singular=names["kind"].lower(), listKind=f"{names['kind']}List")
        put_default(spec, conversion={"strategy": "None"})

    def prepare_create(self, obj: Obj) -> None:
        # A real one says so a moment later, when its controllers have looked.
        now = format_time(utc_now())
        accepted = ("NamesAccepted", "NoConflicts", "no conflicts found")
        established = (
            "Established",
            "InitialNamesAccepted",
            "the initial names have been accepted",
        )
        stored = [v.get("name") for v in _versions(obj) if v.get("storage")]
        obj["status"] = {
            "conditions": [
                {
                    "type": kind,
                    "status": "True",
                    "lastTransitionTime": now,
                    "reason": reason,
                    "message": message,
                }
                for kind, reason, message in (accepted, established)
            ],
            "acceptedNames": obj["spec"]["names"],
            "storedVersions": stored,
        }

    def check(self, check: FieldCheck, obj: Obj) -> None:
        spec, names = obj["spec"], obj["spec"]["names"]
        for key in ("plural", "singular", "kind", "listKind"):
            if not names.get(key):
                check.required(f"spec.names.{key}")
        if not spec.get("group"):
            check.required("spec.group")
        else:
            check_subdomain(check, "spec.group", spec["group"])
        if spec.get("scope") not in SCOPES:
            check.unsupported("spec.scope", spec.get("scope", ""), SCOPES)
        wanted = f"{names.get('plural', '')}.{spec.get('group', '')}"
        if obj["metadata"].get("name") != wanted:
            why = 'must be spec.names.plural+"."+spec.group'
            check.invalid("metadata.name", obj["metadata"].get("name", ""), why)
        for index, version in enumerate(_versions(obj)):
            check_label(check, f"spec.versions[{index}].name", version.get("name") or "")
            if not (version.get("schema") or {}).get("openAPIV3Schema"):
                check.required(
                    f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required"
                )
        if sum(bool(version.get("storage")) for version in _versions(obj)) != 1:
            why = "must have exactly one version marked as storage version"
            check.invalid("spec.versions", _versions(obj), why)

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        for key in ("group", "scope"):
            check.immutable(f"spec.{key}", new["spec"].get(key), old["spec"].get(key))

    def prepare_update(self, new: Obj, old: Obj) -> None:
        keep(new, old, "status")


def _versions(obj: Obj) -> list[Obj]:
    return list(obj["spec"].get("versions") or [])
