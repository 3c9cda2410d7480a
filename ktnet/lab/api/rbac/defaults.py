"""The roles and bindings that every cluster has from its start. Pure.

k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go, as far as a user meets
them: what a recorded SelfSubjectRulesReview shows, and `view`, `edit` and `admin` for the kinds
that the lab serves. The recording also shows a rule for /.well-known whose role it doesn't name;
here that is `system:well-known-viewer`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ktnet.lab.api.authentication import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from ktnet.lab.api.errors import Obj

READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
ACCOUNTS = "system:serviceaccounts"
_RBAC = "rbac.authorization.k8s.io"


def build_default_roles() -> Iterator[tuple[str, Obj]]:
    """(plural, object), roles before the bindings to them."""
    for name, rules in _RULES.items():
        yield "clusterroles", {"metadata": _meta(name), "rules": rules}
    for name, groups in _GROUPS.items():
        yield (
            "clusterrolebindings",
            {
                "metadata": _meta(name),
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [
                    {"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups
                ],
            },
        )


def _meta(name: str) -> Obj:
    return {
        "name": name,
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
    }


def _rule(verbs: list[str], group: str, *resources: str) -> Obj:
    return {"verbs": verbs, "apiGroups": [group], "resources": list(resources)}


def _urls(*urls: str) -> Obj:
    return {"verbs": ["get"], "nonResourceURLs": list(urls)}


_HEALTH = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_ISSUER = ("/.well-known/openid-configuration", "/openid/v1/jwks")

_VIEWED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "",
        (
            *("configmaps", "endpoints", "persistentvolumeclaims", "pods", "serviceaccounts"),
            *("services", "events", "limitranges", "namespaces", "resourcequotas"),
            *("pods/log", "pods/status"),
        ),
    ),
    ("discovery.k8s.io", ("endpointslices",)),
    (
        "apps",
        (
            *("deployments", "deployments/scale", "replicasets", "replicasets/scale"),
            *("statefulsets", "statefulsets/scale", "daemonsets", "controllerrevisions"),
        ),
    ),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("batch", ("jobs", "cronjobs")),
    ("policy", ("poddisruptionbudgets",)),
    ("networking.k8s.io", ("ingresses", "networkpolicies")),
)
_EDITED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "",
        (
            *("configmaps", "events", "persistentvolumeclaims", "pods", "secrets"),
            *("serviceaccounts", "services"),
            *("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"),
        ),
    ),
    *(each for each in _VIEWED if each[0] not in {"", "discovery.k8s.io"}),
)
_VIEW = [_rule(READ, group, *resources) for group, resources in _VIEWED]
_EDIT = [
    _rule(READ, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets"),
    _rule(["impersonate"], "", "serviceaccounts"),
    _rule(["create"], "", "pods/eviction", "serviceaccounts/token"),
    _rule([*READ, *WRITE], "coordination.k8s.io", "leases"),
    *(_rule(WRITE, group, *resources) for group, resources in _EDITED),
    *_VIEW,
]

_RULES: dict[str, list[Obj]] = {
    "cluster-admin": [_rule(["*"], "*", "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "admin": [
        _rule(["create"], "authorization.k8s.io", "localsubjectaccessreviews"),
        _rule([*READ, *WRITE], _RBAC, "rolebindings", "roles"),
        *_EDIT,
    ],
    "edit": _EDIT,
    "view": _VIEW,
    "system:basic-user": [
        _rule(
            ["create"],
            "authorization.k8s.io",
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
        ),
        _rule(["create"], "authentication.k8s.io", "selfsubjectreviews"),
    ],
    "system:discovery": [
        _urls(
            *("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi"),
            *("/openapi/*", "/readyz", "/version", "/version/"),
        )
    ],
    "system:public-info-viewer": [_urls(*_HEALTH)],
    "system:service-account-issuer-discovery": [
        _urls(_ISSUER[0], f"{_ISSUER[0]}/", _ISSUER[1], f"{_ISSUER[1]}/")
    ],
    "system:well-known-viewer": [_urls("/.well-known", "/.well-known/*")],
}
_GROUPS: dict[str, tuple[str, ...]] = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": (AUTHENTICATED,),
    "system:discovery": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
    "system:service-account-issuer-discovery": (ACCOUNTS,),
    "system:well-known-viewer": (AUTHENTICATED,),
}
