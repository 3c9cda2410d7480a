"""Which verb on which resource a method and a path mean. Pure.

kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris, as RequestInfo of
k8s.io/apiserver/pkg/endpoints/request resolves them: without knowing which resources exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ktnet.lab.api.authorization import Attributes
from ktnet.lab.api.query import parse_bool

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch"}
_OF_NAMESPACES = frozenset({"status", "finalize"})
"""Subresources of a namespace, not resources in it."""


@dataclass(frozen=True)
class Target:
    """What a request is about; `resource` is empty for a path that is no resource."""

    method: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows a subresource (proxies have paths of their own)."""
    watches: bool = False
    selected_name: str = ""
    """The one name that a list or a watch is restricted to by its fieldSelector."""

    @property
    def verb(self) -> str:
        """As RBAC names it."""
        if not self.resource:
            return self.method.lower()
        if self.method == "DELETE":
            return "delete" if self.name else "deletecollection"
        if self.watches:
            return "watch"
        verb = _VERBS.get(self.method, self.method.lower())
        return "list" if verb == "get" and not self.name else verb

    def attributes(self) -> Attributes:
        if not self.resource:
            return Attributes(self.verb, path=self.path)
        return Attributes(
            self.verb,
            self.group,
            self.resource,
            self.subresource,
            self.namespace,
            self.name or self.selected_name,
        )


def parse_target(method: str, path: str, query: Mapping[str, str]) -> Target:
    """`path` is decoded."""
    bare, watch = Target(method, path), parse_bool(query.get("watch", ""))
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        target, parts = replace(bare, version=parts[1]), parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        target, parts = replace(bare, group=parts[1], version=parts[2]), parts[3:]
    else:
        return bare
    if parts[0] == "watch" and len(parts) > 1:
        watch, parts = True, parts[1:]
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in _OF_NAMESPACES:
        target, parts = replace(target, namespace=parts[1]), parts[2:]
    elif parts[0] == "namespaces" and len(parts) > 1:
        # Rights on a namespace itself can be given within it.
        target = replace(target, namespace=parts[1])
    resource, name, subresource, *rest = [*parts, "", "", ""][: max(4, len(parts) + 1)]
    if method not in {"GET", "HEAD"}:
        watch = False
    selects = method in {"GET", "HEAD"} and not name
    return replace(
        target,
        resource=resource,
        name=name,
        subresource=subresource,
        rest="/".join(filter(None, rest)),
        watches=watch and not subresource,
        selected_name=_find_selected_name(query.get("fieldSelector", "")) if selects else "",
    )


def _find_selected_name(selector: str) -> str:
    """A rule with resourceNames allows a list of just that object (recorded)."""
    for term in selector.split(","):
        found = re.fullmatch(r"metadata\.name==?([^=!]+)", term)
        if found is not None:
            return found[1]
    return ""
