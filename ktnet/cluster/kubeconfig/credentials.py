"""As whom each request goes out: the headers, and what to do when the server refuses them.

Every kind does the same two things: `build_headers` for a request, and `renew` when one was
answered by 401: read the token's file again, run the plugin again, read the kubeconfig again.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ktnet.cluster.kubeconfig.execcredential import ExecCredential, is_header_text
from ktnet.cluster.kubeconfig.model import Impersonation
from ktnet.cluster.kubeconfig.tls import show_certificate
from ktnet.errors import ClusterUnreachable, KtnetError, UsageError

log = logging.getLogger(__name__)

TOKEN_FILE_PERIOD_S = 60.0
"""How long a token is used before its file is read again; kubelets renew it long before its end."""

_TOKEN_CHARACTERS = frozenset("!#$&'*+-.^_`|~")
"""Beside letters and digits, in a header's name (RFC 9110 5.6.2); `%` escapes the rest."""

Headers = list[tuple[str, str]]


class Credentials(Protocol):
    """Who we are."""

    @property
    def certificate_generation(self) -> int:
        """Raised whenever another certificate has to be shown: connections made before are
        somebody else's."""

    async def build_headers(self) -> Headers:
        """Of the next request; a KtnetError where there are no credentials to be had."""

    async def renew(self, refused: Headers) -> bool:
        """These were refused: whether there are others now."""


class Constant:
    """Headers that stay as they are; none where a client certificate says it all."""

    def __init__(self, headers: Headers, certificate_generation: int = 0) -> None:
        self.certificate_generation = certificate_generation
        self._headers = headers

    async def build_headers(self) -> Headers:
        """Of the next request."""
        return self._headers

    async def renew(self, refused: Headers) -> bool:
        """There are no others."""
        del refused
        return False


class TokenFile:
    """A token that somebody else renews, in a file: a pod's, or that of a login daemon."""

    certificate_generation = 0

    def __init__(self, path: str, fallback: str = "") -> None:
        self._path = path
        self._token = fallback
        self._read_s = 0.0
        self._read()
        if not self._token:
            raise UsageError(f"the token file {path} is empty or can't be read")

    async def build_headers(self) -> Headers:
        """Of the next request."""
        if time.monotonic() - self._read_s > TOKEN_FILE_PERIOD_S:
            self._read()
        return [build_bearer(self._token)]

    async def renew(self, refused: Headers) -> bool:
        """Whether the file says something else by now."""
        self._read()
        return [build_bearer(self._token)] != refused

    def _read(self) -> None:
        self._read_s = time.monotonic()
        try:
            token = Path(self._path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            # While it is being replaced, or for ever: the server will say what it thinks.
            log.warning("the token file %s can't be read: %s", self._path, error)
            return
        self._token = token or self._token


class Plugin:
    """Credentials of an exec plugin, which is run when there are none, or none any more."""

    def __init__(
        self, run: Callable[[], Awaitable[ExecCredential]], context: ssl.SSLContext
    ) -> None:
        self.certificate_generation = 0
        self._run = run
        self._context = context
        self._current: ExecCredential | None = None
        self._running = asyncio.Lock()

    async def build_headers(self) -> Headers:
        """Of the next request."""
        async with self._running:
            if self._current is None or _has_expired(self._current):
                await self._refresh()
            return self._headers()

    async def renew(self, refused: Headers) -> bool:
        """Run it once more, unless that was done meanwhile for another request."""
        async with self._running:
            if self._current is not None and self._headers() == refused:
                await self._refresh()
            return True

    def _headers(self) -> Headers:
        current = self._current
        return [build_bearer(current.token)] if current is not None and current.token else []

    async def _refresh(self) -> None:
        self._current = None  # no credentials are better than refused ones, if this fails
        found = await self._run()
        if found.certificate:
            try:
                show_certificate(self._context, found.certificate, found.key)
            except ValueError as error:
                raise ClusterUnreachable(f"of the exec plugin's answer, {error}") from error
            self.certificate_generation += 1
        self._current = found


class Impersonated:
    """Credentials that act as somebody else."""

    def __init__(self, own: Credentials, acting_as: Impersonation) -> None:
        self._own = own
        self._added = build_impersonation(acting_as)

    @property
    def certificate_generation(self) -> int:
        """Of our own certificate."""
        return self._own.certificate_generation

    async def build_headers(self) -> Headers:
        """Of the next request."""
        return await self._own.build_headers() + self._added

    async def renew(self, refused: Headers) -> bool:
        """Whether our own credentials are others by now."""
        return await self._own.renew(refused[: len(refused) - len(self._added)])


class Reloaded:
    """Credentials that stand in the kubeconfig itself, where a new login puts new ones."""

    def __init__(self, now: Credentials, reload: Callable[[], Credentials | None]) -> None:
        self._now = now
        self._reload = reload

    @property
    def certificate_generation(self) -> int:
        """Of the certificate that stands there."""
        return self._now.certificate_generation

    async def build_headers(self) -> Headers:
        """Of the next request."""
        return await self._now.build_headers()

    async def renew(self, refused: Headers) -> bool:
        """Whether the kubeconfig says something else by now."""
        if await self._now.build_headers() != refused:
            return True
        try:
            found = self._reload()
        except KtnetError as error:
            log.warning("the kubeconfig can't be read again: %s", error)
            return False
        if found is None:
            return False
        self._now = found
        return True


def build_bearer(token: str) -> tuple[str, str]:
    """The header of a token (RFC 6750)."""
    if not is_header_text(token):
        raise UsageError("the token has characters in it that no token can have")
    return "Authorization", f"Bearer {token}"


def build_basic(username: str, password: str) -> tuple[str, str]:
    """The header of a name and a password (RFC 7617)."""
    both = base64.b64encode(f"{username}:{password}".encode()).decode()
    return "Authorization", f"Basic {both}"


def build_impersonation(acting_as: Impersonation) -> Headers:
    """https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation"""
    headers = [("Impersonate-User", acting_as.user)]
    if acting_as.uid:
        headers.append(("Impersonate-Uid", acting_as.uid))
    headers += [("Impersonate-Group", group) for group in acting_as.groups]
    for key, values in acting_as.extra:
        headers += [(f"Impersonate-Extra-{_escape(key)}", value) for value in values]
    if not all(is_header_text(value) for _, value in headers):
        raise UsageError("who is to be impersonated has characters in it that no header can have")
    return headers


def _escape(key: str) -> str:
    """A key of as-user-extra as a part of a header's name."""
    octets = key.encode(errors="surrogatepass")
    return "".join(
        chr(octet)
        if octet < 128 and (chr(octet).isalnum() or chr(octet) in _TOKEN_CHARACTERS)
        else f"%{octet:02X}"
        for octet in octets
    )


def _has_expired(credential: ExecCredential) -> bool:
    return credential.expires is not None and datetime.now(UTC) >= credential.expires
