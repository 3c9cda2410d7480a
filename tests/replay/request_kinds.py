"""What makes requests of one kind: verb, resource, subresource, content type, query parameters."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recordings import Case

from ktnet.lab.api.target import parse_target

_REFERENCE = "kubernetes.io/docs/reference/kubernetes-api/"

_BY_NAME = "kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/"
"""By fieldSelector=metadata.name, where the same without one is recorded."""

_OWNED = "RFC 7386: another ownerReference (as of Leases, which are recorded)"

UNPROVEN: dict[tuple[str, str], str] = {
    ("list", "events"): f"{_REFERENCE}cluster-resources/event-v1/ (recorded as a Table only)",
    ("list", "nodes"): f"{_REFERENCE}cluster-resources/node-v1/ (recorded as a Table only)",
    ("list", "servicecidrs.networking.k8s.io"): "KEP-1880, Multiple Service CIDRs",
    ("list", "horizontalpodautoscalers.autoscaling"): (
        f"{_REFERENCE}workload-resources/horizontal-pod-autoscaler-v2/"
    ),
    ("list", "statefulsets.apps"): f"{_REFERENCE}workload-resources/stateful-set-v1/",
    ("patch", "statefulsets.apps"): (
        f"{_REFERENCE}workload-resources/stateful-set-v1/ (as of Deployments, which are recorded)"
    ),
    ("get", "statefulsets.apps"): f"{_REFERENCE}workload-resources/stateful-set-v1/",
    ("list", "deployments.apps"): _BY_NAME,
    ("watch", "deployments.apps"): _BY_NAME,
    ("watch", "statefulsets.apps"): _BY_NAME,
    ("list", "services"): _BY_NAME,
    ("watch", "services"): _BY_NAME,
    ("create", "poddisruptionbudgets.policy"): (
        f"{_REFERENCE}policy-resources/pod-disruption-budget-v1/"
    ),
    ("create", "roles.rbac.authorization.k8s.io"): (
        f"{_REFERENCE}authorization-resources/role-v1/"
    ),
    ("create", "rolebindings.rbac.authorization.k8s.io"): (
        f"{_REFERENCE}authorization-resources/role-binding-v1/"
    ),
    ("patch", "serviceaccounts"): _OWNED,
    ("patch", "roles.rbac.authorization.k8s.io"): _OWNED,
    ("patch", "rolebindings.rbac.authorization.k8s.io"): _OWNED,
    ("get", "rolebindings.rbac.authorization.k8s.io"): (
        f"{_REFERENCE}authorization-resources/role-binding-v1/"
    ),
    ("get", "/apis/networking.istio.io"): "kubernetes.io/docs/concepts/overview/kubernetes-api/",
    **{
        (verb, f"{plural}.networking.istio.io"): (
            "kubernetes.io/docs/concepts/extend-kubernetes/api-extension/custom-resources/"
        )
        for verb in ("list", "create", "patch", "delete")
        for plural in ("destinationrules", "virtualservices")
    },
    ("patch", "services"): "RFC 6902 (as of Deployments, which are recorded)",
}
"""(verb, resource) that no recording shows, and where Kubernetes says how it is answered."""

UNTOLD = frozenset({"timeoutSeconds", "pretty", "watch", "fieldManager", "container", "limit"})
"""Query parameters that bound or name things, and don't change what an answer means."""


@dataclass(frozen=True)
class Kind:
    verb: str
    resource: str
    content_type: str
    query: frozenset[str]

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.content_type} {sorted(self.query)}"


def build_kind(entry: dict[str, Any]) -> Kind:
    parts = [entry["resource"] or entry["path"], entry["group"], entry["subresource"]]
    name = f"{parts[0]}.{parts[1]}" if parts[1] else parts[0]
    name = f"{name}/{parts[2]}" if parts[2] else name
    writes = entry["verb"] in {"create", "update", "patch"}
    content_type = entry["content_type"] if writes else ""
    return Kind(entry["verb"], name, content_type, frozenset(entry["query"]) - UNTOLD)


def kind_of(case: Case) -> Kind:
    """Of a recorded request."""
    target = parse_target(case.method, case.path, dict(case.query))
    entry = {
        "verb": target.verb,
        "group": target.group,
        "resource": target.resource,
        "subresource": target.subresource,
        "path": "" if target.resource else target.path,
        "content_type": case.headers.get("Content-Type", "").partition(";")[0],
        "query": [key for key, _ in case.query],
    }
    return build_kind(entry)


def read_kinds(agent: str) -> set[Kind]:
    """Of all requests that a program has made of the labs of this test run."""
    kinds = set()
    for path in Path(os.environ["KTNET_LAB_REQUEST_KINDS"]).glob("*.jsonl"):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["agent"] == agent:
                kinds.add(build_kind(entry))
    return kinds


def is_proven(kind: Kind, matched: set[Kind]) -> bool:
    """Whether that request matched, with each parameter in some request of the same verb."""
    same = any(
        (each.verb, each.resource, each.content_type)
        == (kind.verb, kind.resource, kind.content_type)
        for each in matched
    )
    seen = {key for each in matched if each.verb == kind.verb for key in each.query}
    return same and kind.query <= seen
