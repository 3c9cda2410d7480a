"""Who is asking. Pure.

kubernetes.io/docs/reference/access-authn-authz/authentication/: a client certificate or a bearer
token is somebody, a wrong token is refused (401) whatever is asked for, none at all (or another
scheme) is `system:anonymous`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

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
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What else is known: for one, which token it was."""


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))

TokenReader = Callable[[str], User | None]
"""Whose token that is; None where it isn't any good."""


def authenticate(
    read_token: TokenReader, authorization: str, subprotocols: str, certificate: User | None
) -> User:
    """The user behind a client certificate, an Authorization header or a WebSocket's subprotocols.

    Raises ApiError 401.
    """
    if certificate is not None:
        return join_authenticated(certificate)
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        token = _find_token(subprotocols)
    token = token.strip()
    if not token:
        return ANONYMOUS
    user = read_token(token)
    if user is None:
        raise unauthorized()
    return join_authenticated(user)


def find_token(tokens: Mapping[str, User], token: str) -> User | None:
    """In a table, without telling by the time it takes how much of a guess was right."""
    found = None
    for known, user in tokens.items():
        if hmac.compare_digest(known.encode(), token.encode()):
            found = user
    return found


def join_authenticated(user: User) -> User:
    if AUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED))


def read_certificate(certificate: Mapping[str, Any] | None) -> User | None:
    """The user that a certificate, verified and as the ssl module tells it, is for.

    kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates: its
    common name is the user, its organizations are the groups.
    """
    subject = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
    names = [value for key, value in subject if key == "commonName"]
    if not names:
        return None
    groups = tuple(value for key, value in subject if key == "organizationName")
    return User(names[-1], groups)


def _find_token(subprotocols: str) -> str:
    for name in map(str.strip, subprotocols.split(",")):
        if name.startswith(BEARER_SUBPROTOCOL):
            encoded = name.removeprefix(BEARER_SUBPROTOCOL)
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (binascii.Error, ValueError):
                raise unauthorized() from None
    return ""
