"""What the API server refuses, as the Status objects that a client sees.

kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/; the words are those of a
real API server, since clients (and people) match on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Obj = dict[str, Any]
"""An object of the API, as its JSON says it."""

REJECTED = "the server rejected our request due to an error in our request"
WRONG_METHOD = "the server does not allow this method on the requested resource"
UNKNOWN_RESOURCE = "the server could not find the requested resource"
MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


@dataclass(frozen=True)
class Cause:
    """One field that is wrong, and why."""

    reason: str
    message: str
    field: str = ""

    def body(self) -> Obj:
        body: Obj = {"reason": self.reason, "message": self.message}
        return {**body, "field": self.field} if self.field else body


@dataclass
class ApiError(Exception):
    """A request that is answered by a failure: HTTP status, reason, message, details."""

    status: int
    reason: str
    message: str
    details: Obj | None = None
    headers: dict[str, str] = field(default_factory=dict)
    continue_token: str = ""
    """Of a list that can only go on inconsistently (410)."""

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"

    def body(self) -> Obj:
        """The v1 Status."""
        body: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return {**body, "code": self.status}


def describe(name: str, group: str, kind: str) -> Obj:
    """The `details` that name an object; `kind` is a plural or a kind."""
    details = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in details.items() if value}


def qualify(name: str, group: str) -> str:
    """A plural or a kind with its group, as messages write it: `deployments.apps`."""
    return f"{name}.{group}" if group else name


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    subject = qualify(plural, group) + (f' "{name}"' if name else "")
    return ApiError(
        403, "Forbidden", f"{subject} is forbidden: {why}", describe(name, group, plural)
    )


def not_found(group: str, plural: str, name: str) -> ApiError:
    return ApiError(
        404,
        "NotFound",
        f'{qualify(plural, group)} "{name}" not found',
        describe(name, group, plural),
    )


def unknown_resource() -> ApiError:
    return ApiError(404, "NotFound", UNKNOWN_RESOURCE, {})


def wrong_method() -> ApiError:
    return ApiError(405, "MethodNotAllowed", WRONG_METHOD, {})


def not_supported(what: str) -> ApiError:
    """501: a real API server does it, the lab does not."""
    return ApiError(501, "NotImplemented", f"the lab's API server does not support {what}")


def already_exists(group: str, plural: str, name: str, *, prefix: str = "") -> ApiError:
    return ApiError(
        409,
        "AlreadyExists",
        f'{prefix}{qualify(plural, group)} "{name}" already exists',
        describe(name, group, plural),
    )


def conflict(group: str, kind: str, name: str, why: str = MODIFIED) -> ApiError:
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualify(kind, group)} "{name}": {why}',
        describe(name, group, kind),
    )


def expired(message: str, *, continue_token: str = "") -> ApiError:
    return ApiError(410, "Expired", message, continue_token=continue_token)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with one cause for each field."""
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    return ApiError(
        422,
        "Invalid",
        f'{qualify(kind, group)} "{name}" is invalid: {listed}',
        {**describe(name, group, kind), "causes": [cause.body() for cause in causes]},
    )


def rejected() -> ApiError:
    """422 without a cause: a JSON patch that could not be applied."""
    return ApiError(422, "Invalid", REJECTED, {})
