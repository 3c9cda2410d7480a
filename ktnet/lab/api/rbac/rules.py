"""Whether one rule of a Role allows one request. Pure.

As k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go. `*` stands for everything on its own
only: `deployments/*` matches nothing (recorded), `*/scale` every kind's scale.
"""

from __future__ import annotations

from ktnet.lab.api.authorization import Attributes
from ktnet.lab.api.errors import Obj

ALL = "*"


def rule_allows(rule: Obj, wanted: Attributes) -> bool:
    if not {wanted.verb, ALL} & set(rule.get("verbs") or ()):
        return False
    if wanted.path:
        return any(url_matches(url, wanted.path) for url in rule.get("nonResourceURLs") or ())
    names = rule.get("resourceNames") or ()
    return (
        bool({wanted.group, ALL} & set(rule.get("apiGroups") or ()))
        and _matches_resource(rule.get("resources") or (), wanted)
        and (not names or wanted.name in names)
    )


def url_matches(pattern: str, path: str) -> bool:
    """A non-resource URL; `*` at its end stands for whatever follows."""
    if pattern in (ALL, path):
        return True
    return pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL))


def _matches_resource(resources: list[str] | tuple[str, ...], wanted: Attributes) -> bool:
    if ALL in resources:
        return True
    full = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    if full in resources:
        return True
    return bool(wanted.subresource) and f"*/{wanted.subresource}" in resources
