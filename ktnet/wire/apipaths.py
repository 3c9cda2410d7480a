"""Where objects live in the API: pure.

https://kubernetes.io/docs/reference/using-api/api-concepts/#standard-api-terminology
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

_GROUPS = {
    "events": "/api/v1",
    "nodes": "/api/v1",
    "pods": "/api/v1",
    "services": "/api/v1",
    "configmaps": "/api/v1",
    "serviceaccounts": "/api/v1",
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "servicecidrs": "/apis/networking.k8s.io/v1",
    "destinationrules": "/apis/networking.istio.io/v1",
    "virtualservices": "/apis/networking.istio.io/v1",
    "selfsubjectreviews": "/apis/authentication.k8s.io/v1",
    "selfsubjectaccessreviews": "/apis/authorization.k8s.io/v1",
    "selfsubjectrulesreviews": "/apis/authorization.k8s.io/v1",
}

Query = Mapping[str, str | int]


def find_group(plural: str) -> str:
    """The API group of a kind; empty for the core."""
    _, top, *rest = _find_root(plural).split("/")
    return rest[0] if top == "apis" else ""


def _find_root(plural: str) -> str:
    """Of a kind's group and version; another one than usual by kubectl's way of naming it, such as
    "virtualservices.v1beta1.networking.istio.io"."""
    _, dot, rest = plural.partition(".")
    if not dot:
        return _GROUPS[plural]
    version, _, group = rest.partition(".")
    return f"/apis/{group}/{version}"


def build_path(
    plural: str, namespace: str | None = None, name: str | None = None, subresource: str = ""
) -> str:
    """The path of a collection, an object or its subresource; no namespace means all of them."""
    parts = [_find_root(plural)]
    if namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural.partition(".")[0])
    if name is not None:
        parts.append(quote(name, safe=""))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def build_target(path: str, query: Query) -> str:
    """What a request line asks for (RFC 9112 section 3.2.1)."""
    return f"{path}?{urlencode(query)}" if query else path


def build_selectors(
    labels: Mapping[str, str] | None, fields: Mapping[str, str] | None
) -> dict[str, str | int]:
    """The part of a query that wants all of these labels and fields."""
    selectors: dict[str, str | int] = {}
    for parameter, wanted in (("labelSelector", labels), ("fieldSelector", fields)):
        if wanted:
            selectors[parameter] = ",".join(f"{key}={value}" for key, value in wanted.items())
    return selectors
