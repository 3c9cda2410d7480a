"""The rules that a user has by bindings, and what they allow.

As k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/rbac.go and
k8s.io/kubernetes/pkg/registry/rbac/validation/rule.go: bindings of the cluster first, then those of
the namespace. A binding whose role isn't there gives nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ktnet.lab.api.authentication import MASTERS, User
from ktnet.lab.api.authorization import Attributes
from ktnet.lab.api.errors import Obj
from ktnet.lab.api.rbac.rules import rule_allows

ACCOUNT_PREFIX = "system:serviceaccount:"


class Roles(Protocol):
    """Where roles and bindings lie; the store does."""

    def list(self, plural: str, namespace: str | None = None) -> list[Obj]: ...

    def has(self, plural: str, namespace: str | None, name: str) -> bool: ...

    def get(self, plural: str, namespace: str | None, name: str) -> Obj: ...


@dataclass(frozen=True)
class Grant:
    """A rule that somebody has."""

    rule: Obj
    binding: Obj
    subject: Obj

    @property
    def reason(self) -> str:
        """In the words of an access review."""
        role = self.binding["roleRef"]
        return (
            f'RBAC: allowed by {self.binding["kind"]} "{_place(self.binding["metadata"])}" of '
            f'{role["kind"]} "{role["name"]}" to {self.subject["kind"]} "{_place(self.subject)}"'
        )


class Rbac:
    """Answers what users may do, from the roles as they are at that moment."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    def __call__(self, user: User, wanted: Attributes) -> bool:
        return MASTERS in user.groups or self.find_grant(user, wanted) is not None

    def explain(self, user: User, wanted: Attributes) -> str:
        """Why it is allowed; empty where it isn't, and for system:masters, whom no rule binds."""
        if MASTERS in user.groups:
            return ""
        grant = self.find_grant(user, wanted)
        return grant.reason if grant is not None else ""

    def find_grant(self, user: User, wanted: Attributes) -> Grant | None:
        grants = self.list_grants(user, wanted.namespace)
        return next((grant for grant in grants if rule_allows(grant.rule, wanted)), None)

    def list_grants(self, user: User, namespace: str) -> Iterator[Grant]:
        """All that a user has in a namespace ("" for the cluster), and by which binding."""
        bindings = self._roles.list("clusterrolebindings")
        if namespace:
            bindings = [*bindings, *self._roles.list("rolebindings", namespace)]
        for binding in bindings:
            subject = _find_subject(binding, user)
            if subject is not None:
                for rule in self.list_rules(binding):
                    yield Grant(rule, binding, subject)

    def list_rules(self, binding: Obj) -> list[Obj]:
        """What a binding's role holds; nothing where there is no such role."""
        plural, namespace, name = locate_role(binding)
        if not self._roles.has(plural, namespace, name):
            return []
        return self._roles.get(plural, namespace, name).get("rules") or []


def locate_role(binding: Obj) -> tuple[str, str | None, str]:
    """(plural, namespace, name) of what a binding refers to."""
    role = binding["roleRef"]
    if role["kind"] == "ClusterRole":
        return "clusterroles", None, role["name"]
    return "roles", binding["metadata"].get("namespace"), role["name"]


def _find_subject(binding: Obj, user: User) -> Obj | None:
    namespace = binding["metadata"].get("namespace", "")
    for subject in binding.get("subjects") or ():
        match subject["kind"]:
            case "User":
                found = subject["name"] == user.name
            case "Group":
                found = subject["name"] in user.groups
            case "ServiceAccount":
                where = subject.get("namespace") or namespace
                found = bool(where) and user.name == f"{ACCOUNT_PREFIX}{where}:{subject['name']}"
            case _:
                found = False
        if found:
            return dict(subject)
    return None


def _place(named: Obj) -> str:
    """Name before namespace: so they are written here."""
    namespace = named.get("namespace")
    return f"{named['name']}/{namespace}" if namespace else str(named["name"])
