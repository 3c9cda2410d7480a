"""Who may do what. Pure.

kubernetes.io/docs/reference/access-authn-authz/authorization/: the question is asked before anyone
looks whether the object, or even the resource, exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ktnet.lab.api.authentication import AUTHENTICATED, MASTERS, User
from ktnet.lab.api.errors import ApiError, forbidden


@dataclass(frozen=True)
class Attributes:
    """What a request wants: a verb on a resource, or on a `path` that is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


Authorizer = Callable[[User, Attributes], bool]
"""Says whether a user may do something."""

PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version", "/version/")
"""For everybody (ClusterRole system:public-info-viewer)."""
DISCOVERY_PATHS = ("/api", "/apis", "/openapi")
"""With all that is below, for everybody who is somebody (ClusterRole system:discovery)."""
SELF_REVIEWS = frozenset({"selfsubjectaccessreviews"})
"""For everybody who is somebody (ClusterRole system:basic-user)."""


def allow_by_group(user: User, wanted: Attributes) -> bool:
    """The rights that every cluster gives: all to system:masters, discovery to all users."""
    if MASTERS in user.groups:
        return True
    if wanted.path:
        if wanted.verb != "get":
            return False
        if wanted.path in PUBLIC_PATHS:
            return True
        first = "/" + wanted.path.strip("/").partition("/")[0]
        return AUTHENTICATED in user.groups and first in DISCOVERY_PATHS
    return (
        AUTHENTICATED in user.groups and wanted.resource in SELF_REVIEWS and wanted.verb == "create"
    )


def build_denial(user: User, wanted: Attributes) -> ApiError:
    """The 403 that names verb, resource and namespace."""
    if wanted.path:
        message = f'forbidden: User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
        error = ApiError(403, "Forbidden", message, {})
    else:
        resource = wanted.resource + (f"/{wanted.subresource}" if wanted.subresource else "")
        where = (
            f'in the namespace "{wanted.namespace}"'
            if wanted.namespace
            else ("at the cluster scope")
        )
        why = (
            f'User "{user.name}" cannot {wanted.verb} resource "{resource}" in API group '
            f'"{wanted.group}" {where}'
        )
        error = forbidden(wanted.group, wanted.resource, wanted.name, why)
    error.headers["X-Content-Type-Options"] = "nosniff"
    return error
