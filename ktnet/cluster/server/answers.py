"""What the API server's refusals mean to us: pure.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ktnet.errors import ClusterUnreachable, Conflict, Forbidden, KtnetError, NotFound

_TEXT_LIMIT = 2000
"""Characters of a server's message that are kept: a validation error can be a page."""

_RBAC = re.compile(r'User "[^"]*" cannot (?P<verb>\S+) resource|is forbidden:$')
"""How the authoriser words a refusal (k8s.io/apiserver, responsewriters/errors.go). Admission
(quota, PodSecurity, webhooks) answers 403 too, in words of its own."""


_NO_NAMESPACE = re.compile(r'namespaces "([^"]*)" not found')
"""k8s.io/apiserver, pkg/admission/plugin/namespace/lifecycle: of an object that is to be made in a
namespace, which isn't there."""


class Expired(KtnetError):
    """A watch can't go on from where it was (410 Gone): list anew."""


class Refused(KtnetError):
    """The API server won't, for a reason that isn't ours to classify further."""

    exit_code = 4

    def __init__(self, message: str, *, code: int, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Status:
    """A refusal, as the server words it."""

    code: int
    reason: str
    message: str

    def lacks_right(self, verb: str) -> bool:
        """Whether it is a right to `verb` that is missing, not something wrong with the object.

        Nothing but the authoriser refuses to read; for writes, its words tell it from admission.
        For a WebSocket it says "is forbidden:" and gives no reason.
        """
        if self.code != 403:
            return False
        reads = verb in {"get", "list", "watch"}
        return reads or not self.message or bool(_RBAC.search(self.message))


def parse_status(code: int, body: bytes) -> Status:
    """The Status in a refusal's body; plain text is taken as the message."""
    text = body.decode(errors="replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        return read_status(parsed, code)
    return Status(code, "", one_line(text))


def read_status(status: dict[str, Any], code: int = 500) -> Status:
    """A Status object's fields, whatever of them there is."""
    own = status.get("code")
    return Status(
        own if isinstance(own, int) else code,
        one_line(str(status.get("reason") or "")),
        one_line(str(status.get("message") or "")),
    )


def build_error(status: Status, verb: str, resource: str, namespace: str | None) -> KtnetError:
    """The error to raise for a refusal of `verb` on `resource` ("pods/log") in a namespace."""
    scope = f"in namespace {namespace}" if namespace is not None else "in the whole cluster"
    said = status.message or status.reason or f"HTTP {status.code}"
    match status.code:
        case 401:
            error: KtnetError = ClusterUnreachable(
                "the API server does not accept these credentials (401)",
                hint="log in again, as for kubectl; `kubectl auth whoami` tells who you are",
            )
        case 403 if status.lacks_right(verb):
            match = _RBAC.search(status.message)
            error = Forbidden(
                f"not allowed to {(match and match['verb']) or verb} {resource} {scope}"
                + (f": {status.message}" if status.message else ""),
                hint="docs/rights.md has the Role that ktnet needs",
            )
        case 404 if missing := _NO_NAMESPACE.fullmatch(status.message):
            error = NotFound(
                f"there is no namespace {missing[1]}",
                hint="kubectl get namespaces; -n NAME chooses another one",
            )
        case 404:
            error = NotFound(f"{said} ({scope})")
        case 409:
            error = Conflict(said)
        case 410:
            error = Expired(said)
        case 429 | 502 | 503 | 504:
            error = ClusterUnreachable(f"the API server can't answer now: {said}")
        case code:
            error = Refused(
                f"can't {verb} {resource} {scope}: {said}", code=code, reason=status.reason
            )
    return error


def one_line(text: str) -> str:
    """Words of a server, fit for a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:_TEXT_LIMIT]).strip()
