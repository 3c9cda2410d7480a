"""Questions that are asked by creating an object: may I, may they, who am I. Pure.

kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access and
.../authentication/#self-subject-review; the registries under
k8s.io/kubernetes/pkg/registry/{authorization,authentication}.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ktnet.lab.api.authentication import User
from ktnet.lab.api.authorization import Attributes, Caller
from ktnet.lab.api.errors import ApiError, Cause, Obj, bad_request, invalid
from ktnet.lab.api.metadata import format_time
from ktnet.lab.api.rbac.authorizer import Rbac
from ktnet.lab.api.resources import Resource

_EITHER = "exactly one of nonResourceAttributes or resourceAttributes must be specified"

TokenCheck = Callable[[str, list[str]], tuple[User, list[str]] | None]
"""Who has that token, and for which of these audiences (all of the server's where none are
given); None for a token that isn't any good."""


def answer_review(
    resource: Resource,
    review: Obj,
    caller: Caller,
    rbac: Rbac,
    check_token: TokenCheck,
    *,
    namespace: str,
    now: datetime,
) -> Obj:
    """The review with its answer; raises ApiError 400 or 422."""
    spec = review.get("spec") or {}
    head = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}}
    match resource.kind:
        case "SelfSubjectReview":
            status: Obj = {"userInfo": describe_user(caller.user)}
            return {**head, "metadata": {"creationTimestamp": format_time(now)}, "status": status}
        case "SelfSubjectRulesReview":
            return {**head, "spec": {}, "status": _list_rules(rbac, caller, spec)}
        case "TokenReview":
            return {**head, "spec": spec, "status": _review_token(spec, check_token)}
    asked = _find_subject(resource, spec, caller)
    wanted, shown = _parse_question(spec)
    if resource.kind == "LocalSubjectAccessReview" and wanted.namespace != namespace:
        raise _refuse(
            resource,
            f'Invalid value: "{wanted.namespace}": must match metadata.namespace: {namespace}',
            "spec.resourceAttributes.namespace",
        )
    for key in ("user", "groups", "uid", "extra"):
        if resource.kind != "SelfSubjectAccessReview" and spec.get(key):
            shown[key] = spec[key]
    allowed = asked.may(wanted)
    reason = rbac.explain(asked.user, wanted) if allowed else ""
    return {
        **head,
        "spec": shown,
        "status": {"allowed": allowed, **({"reason": reason} if reason else {})},
    }


def describe_user(user: User) -> Obj:
    """As authentication.k8s.io/v1 UserInfo."""
    shown: Obj = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    shown["extra"] = {key: list(values) for key, values in user.extra}
    return {key: value for key, value in shown.items() if value}


def _find_subject(resource: Resource, spec: Obj, caller: Caller) -> Caller:
    """Whose rights are asked for."""
    if resource.kind == "SelfSubjectAccessReview":
        return caller
    name, groups = spec.get("user") or "", tuple(spec.get("groups") or ())
    if not name and not groups:
        raise _refuse(
            resource, 'Invalid value: "": at least one of user or group must be specified',
            "spec.user",
        )  # fmt: skip
    return Caller(User(name, groups, spec.get("uid") or ""), caller.authorize)


def _parse_question(spec: Obj) -> tuple[Attributes, Obj]:
    """What is asked, and how the answer repeats it; raises ApiError 422."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        cause = Cause(
            "FieldValueInvalid", f"Invalid value: null: {_EITHER}", "spec.resourceAttributes"
        )
        error = invalid("authorization.k8s.io", "", "", [cause])
        error.details = {k: v for k, v in (error.details or {}).items() if k != "kind"}
        raise error
    if resource is not None:
        wanted = Attributes(
            resource.get("verb") or "",
            resource.get("group") or "",
            resource.get("resource") or "",
            resource.get("subresource") or "",
            resource.get("namespace") or "",
            resource.get("name") or "",
        )
        kept = {key: value for key, value in resource.items() if value}
        return wanted, {"resourceAttributes": kept}
    path = path or {}
    wanted = Attributes(path.get("verb") or "", path=path.get("path") or "/")
    return wanted, {"nonResourceAttributes": path}


def _refuse(resource: Resource, message: str, field: str) -> ApiError:
    return invalid(resource.group, resource.kind, "", [Cause("FieldValueInvalid", message, field)])


def _list_rules(rbac: Rbac, caller: Caller, spec: Obj) -> Obj:
    namespace = spec.get("namespace") or ""
    if not namespace:
        raise bad_request("no namespace on request")
    rules = [grant.rule for grant in rbac.list_grants(caller.user, namespace)]
    return {
        "resourceRules": [rule for rule in rules if not rule.get("nonResourceURLs")],
        "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
        "incomplete": False,
    }


def _review_token(spec: Obj, check_token: TokenCheck) -> Obj:
    if not spec.get("token"):
        raise bad_request("token is required for TokenReview in authentication")
    found = check_token(spec["token"], list(spec.get("audiences") or ()))
    if found is None:
        return {"user": {}, "error": "[invalid bearer token, unknown]"}
    user, audiences = found
    return {"authenticated": True, "user": describe_user(user), "audiences": audiences}
