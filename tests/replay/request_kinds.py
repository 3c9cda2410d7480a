"""What makes requests of one kind: verb, resource, subresource, content type, query parameters."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recordings import Case

from ktnet.lab.api.kindlog import list_parameters
from ktnet.lab.api.target import parse_target

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


@dataclass(frozen=True)
class Unproven:
    """A kind of request that no recording shows, and where Kubernetes says how it is answered."""

    verb: str
    resource: str
    source: str
    content_type: str = ""
    query: frozenset[str] = frozenset()
    """The most parameters that it may have."""

    def covers(self, kind: Kind) -> bool:
        """Nothing else than that kind of request."""
        here, there = (self.verb, self.resource), (kind.verb, kind.resource)
        same = here == there and self.content_type == kind.content_type
        return same and kind.query <= self.query


_REFERENCE = "kubernetes.io/docs/reference/kubernetes-api"
_JSON, _JSON_PATCH = "application/json", "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_PAGES = frozenset({"continue"})
_TRIED = frozenset({"dryRun"})
_WATCHED = frozenset({"resourceVersion", "allowWatchBookmarks"})
_BY_NAME = _WATCHED | {"fieldSelector=metadata.name"}
_OF_OBJECT = frozenset({"fieldSelector=involvedObject.uid"})
_STATEFULSETS = f"{_REFERENCE}/workload-resources/stateful-set-v1/"
_EVENTS = f"{_REFERENCE}/cluster-resources/event-v1/ and 11-kubectl-requests/describe-pod"
_RIGHTS = f"{_REFERENCE}/authorization-resources"
_ROLES, _BINDINGS = (f"{each}.rbac.authorization.k8s.io" for each in ("roles", "rolebindings"))
_ISTIO = "kubernetes.io/docs/concepts/extend-kubernetes/api-extension/custom-resources/"
_RULES = tuple(f"{each}.networking.istio.io" for each in ("destinationrules", "virtualservices"))
_OWNED = "RFC 7386: another ownerReference (as of Leases, which are recorded)"

UNPROVEN = (
    Unproven("list", "events", _EVENTS, query=_OF_OBJECT | _PAGES),
    Unproven("watch", "events", _EVENTS, query=_OF_OBJECT | _WATCHED),
    Unproven("list", "nodes", f"{_REFERENCE}/cluster-resources/node-v1/", query=_PAGES),
    Unproven(
        "list", "servicecidrs.networking.k8s.io", "KEP-1880, Multiple Service CIDRs", query=_PAGES
    ),
    Unproven(
        "list",
        "horizontalpodautoscalers.autoscaling",
        f"{_REFERENCE}/workload-resources/horizontal-pod-autoscaler-v2/",
        query=_PAGES,
    ),
    Unproven(
        "list",
        "statefulsets.apps",
        _STATEFULSETS,
        query=_PAGES | {"fieldSelector=metadata.name"},
    ),
    Unproven("watch", "statefulsets.apps", _STATEFULSETS, query=_BY_NAME),
    Unproven("patch", "statefulsets.apps", _STATEFULSETS, _JSON_PATCH, _TRIED),
    Unproven(
        "create",
        "poddisruptionbudgets.policy",
        f"{_REFERENCE}/policy-resources/pod-disruption-budget-v1/",
        _JSON,
    ),
    Unproven("create", _ROLES, f"{_RIGHTS}/role-v1/", _JSON, _TRIED),
    Unproven("create", _BINDINGS, f"{_RIGHTS}/role-binding-v1/", _JSON, _TRIED),
    Unproven("get", _BINDINGS, f"{_RIGHTS}/role-binding-v1/"),
    Unproven("patch", "serviceaccounts", _OWNED, _MERGE_PATCH),
    Unproven("patch", _ROLES, _OWNED, _MERGE_PATCH),
    Unproven("patch", _BINDINGS, _OWNED, _MERGE_PATCH),
    Unproven("get", "/apis/networking.istio.io", _ISTIO),
    *(Unproven("list", each, _ISTIO, query=_PAGES) for each in _RULES),
    *(Unproven("create", each, _ISTIO, _JSON) for each in _RULES),
    *(Unproven("patch", each, _ISTIO, _JSON_PATCH) for each in _RULES),
    *(Unproven("delete", each, _ISTIO) for each in _RULES),
)


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
        "query": list_parameters(case.query),
    }
    return build_kind(entry)


def _find_run() -> Path:
    """Where the labs of this test run, and all its workers, note what the last tests look at."""
    return Path(os.environ["KTNET_LAB_REQUEST_KINDS"])


def write_matched(driver: str, kinds: set[Kind]) -> None:
    """For the last tests, which may run in another worker than the replaying."""
    entries = [[k.verb, k.resource, k.content_type, sorted(k.query)] for k in kinds]
    (_find_run() / f"{driver}.matched").write_text(json.dumps(entries))


def read_matched(driver: str) -> set[Kind] | None:
    """None where that driver's folder wasn't replayed in this test run."""
    path = _find_run() / f"{driver}.matched"
    if not path.exists():
        return None
    entries = json.loads(path.read_text())
    return {Kind(*names, frozenset(query)) for *names, query in entries}


def read_kinds(agent: str) -> set[Kind]:
    """Of all requests that a program has made of the labs of this test run."""
    kinds = set()
    for path in _find_run().glob("*.jsonl"):
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
