"""Roles and bindings: kubernetes.io/docs/reference/access-authn-authz/rbac/.

Checks as k8s.io/kubernetes/pkg/apis/rbac/validation/validation.go.
"""

from __future__ import annotations

from typing import ClassVar

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.strategies.strategy import Strategy, put_default

GROUP = "rbac.authorization.k8s.io"


class RoleStrategy(Strategy):
    allows_urls: ClassVar[bool] = False
    creates_on_update = True

    def check_name(self, check: FieldCheck, name: str) -> None:
        check_path_segment(check, "metadata.name", name)

    def check(self, check: FieldCheck, obj: Obj) -> None:
        for index, rule in enumerate(obj.get("rules") or ()):
            self._check_rule(check, rule, f"rules[{index}]")

    def present(self, obj: Obj) -> None:
        obj.setdefault("rules", None)

    def _check_rule(self, check: FieldCheck, rule: Obj, field: str) -> None:
        if not rule.get("verbs"):
            check.required(f"{field}.verbs", "verbs must contain at least one value")
        urls = rule.get("nonResourceURLs")
        if urls:
            if not self.allows_urls:
                detail = "namespaced rules cannot apply to non-resource URLs"
                check.invalid(f"{field}.nonResourceURLs", urls, detail)
            if any(rule.get(key) for key in ("apiGroups", "resources", "resourceNames")):
                detail = "rules cannot apply to both regular resources and non-resource URLs"
                check.invalid(f"{field}.nonResourceURLs", urls, detail)
            return
        if not rule.get("apiGroups"):
            detail = "resource rules must supply at least one api group"
            check.required(f"{field}.apiGroups", detail)
        if not rule.get("resources"):
            detail = "resource rules must supply at least one resource"
            check.required(f"{field}.resources", detail)


class ClusterRoleStrategy(RoleStrategy):
    allows_urls = True


class RoleBindingStrategy(Strategy):
    needs_namespace: ClassVar[bool] = False
    role_kinds: ClassVar[tuple[str, ...]] = ("Role", "ClusterRole")
    creates_on_update = True

    def check_name(self, check: FieldCheck, name: str) -> None:
        check_path_segment(check, "metadata.name", name)

    def default(self, obj: Obj) -> None:
        role = obj.setdefault("roleRef", {})
        put_default(role, apiGroup=GROUP)
        for subject in obj.get("subjects") or ():
            if subject.get("kind") in {"User", "Group"}:
                put_default(subject, apiGroup=GROUP)

    def check(self, check: FieldCheck, obj: Obj) -> None:
        role = obj["roleRef"]
        if role["apiGroup"] != GROUP:
            check.unsupported("roleRef.apiGroup", role["apiGroup"], (GROUP,))
        if role.get("kind") not in self.role_kinds:
            check.unsupported("roleRef.kind", role.get("kind", ""), self.role_kinds)
        if not role.get("name"):
            check.required("roleRef.name")
        for index, subject in enumerate(obj.get("subjects") or ()):
            self._check_subject(check, subject, f"subjects[{index}]")

    def check_update(self, check: FieldCheck, new: Obj, old: Obj) -> None:
        if new["roleRef"] != old["roleRef"]:
            check.invalid("roleRef", new["roleRef"], "cannot change roleRef")

    def _check_subject(self, check: FieldCheck, subject: Obj, field: str) -> None:
        kinds = ("ServiceAccount", "User", "Group")
        if not subject.get("name"):
            check.required(f"{field}.name")
        if subject.get("kind") not in kinds:
            check.unsupported(f"{field}.kind", subject.get("kind", ""), kinds)
        elif subject["kind"] == "ServiceAccount":
            if subject.get("apiGroup"):
                check.unsupported(f"{field}.apiGroup", subject["apiGroup"], ("",))
            if self.needs_namespace and not subject.get("namespace"):
                check.required(f"{field}.namespace")


class ClusterRoleBindingStrategy(RoleBindingStrategy):
    needs_namespace = True
    role_kinds = ("ClusterRole",)


def check_path_segment(check: FieldCheck, field: str, name: str) -> None:
    """Names of roles are freer than others (k8s.io/apimachinery/pkg/api/validation/path)."""
    if name in {".", ".."}:
        check.invalid(field, name, f"may not be '{name}'")
    for found in ("/", "%"):
        if found in name:
            check.invalid(field, name, f"may not contain '{found}'")
