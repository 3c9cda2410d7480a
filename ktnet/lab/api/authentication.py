"""Who is asking. Pure.

kubernetes.io/docs/reference/access-authn-authz/authentication/: a bearer token is somebody, a wrong
one is refused (401) whatever is asked for, none at all (or another scheme) is `system:anonymous`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from ktnet.lab.api.errors import unauthorized

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"

BEARER_SUBPROTOCOL = "base64url.bearer.authorization.k8s.io."
"""How a browser, which can't set headers, brings its token to a WebSocket."""


@dataclass(frozen=True)
class User:
    """Somebody the API server knows; `system:authenticated` need not be among the groups."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


def authenticate(tokens: Mapping[str, User], authorization: str, subprotocols: str) -> User:
    """The user behind an Authorization header or a WebSocket's subprotocols; ApiError 401."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        token = _find_token(subprotocols)
    token = token.strip()
    if not token:
        return ANONYMOUS
    for known, user in tokens.items():
        if hmac.compare_digest(known.encode(), token.encode()):
            return User(user.name, (*user.groups, AUTHENTICATED), user.uid)
    raise unauthorized()


def _find_token(subprotocols: str) -> str:
    for name in map(str.strip, subprotocols.split(",")):
        if name.startswith(BEARER_SUBPROTOCOL):
            encoded = name.removeprefix(BEARER_SUBPROTOCOL)
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (binascii.Error, ValueError):
                raise unauthorized() from None
    return ""
