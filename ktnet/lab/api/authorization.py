"""Who may do what: the question, who asks it, and the refusal. Pure; `rbac` has the answer.

kubernetes.io/docs/reference/access-authn-authz/authorization/: the question is asked before anyone
looks whether the object, or even the resource, exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ktnet.lab.api.authentication import User
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


@dataclass(frozen=True)
class Caller:
    """Somebody who is asking, with whoever says what they may."""

    user: User
    authorize: Authorizer

    def may(self, wanted: Attributes) -> bool:
        return self.authorize(self.user, wanted)

    def check(self, wanted: Attributes) -> None:
        """Raises ApiError 403."""
        if not self.may(wanted):
            raise build_denial(self.user, wanted)


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
