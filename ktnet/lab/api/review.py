"""SelfSubjectAccessReview: may I? Pure.

kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from ktnet.lab.api.authentication import User
from ktnet.lab.api.authorization import Attributes, Authorizer
from ktnet.lab.api.errors import Cause, Obj, invalid

_EITHER = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


def review_access(review: Obj, user: User, authorize: Authorizer) -> Obj:
    """The review with its answer; raises ApiError 422."""
    spec = review.get("spec") or {}
    resource: Obj | None
    path: Obj | None
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
            resource.get("verb", ""),
            resource.get("group", ""),
            resource.get("resource", ""),
            resource.get("subresource", ""),
            resource.get("namespace", ""),
            resource.get("name", ""),
        )
        shown = {"resourceAttributes": {key: value for key, value in resource.items() if value}}
    else:
        path = path or {}
        wanted = Attributes(path.get("verb", ""), path=path.get("path", ""))
        shown = {"nonResourceAttributes": path}
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": shown,
        "status": {"allowed": authorize(user, wanted)},
    }
