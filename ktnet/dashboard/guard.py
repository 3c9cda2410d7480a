"""Who may ask the dashboard: decided from a request's headers alone. Pure.

The page itself holds no secret and is given to whoever reaches the port; everything else needs the
token, which the page sends as a header (RFC 6750 section 2.1). It is no cookie: those are sent to
every port of a host (RFC 6265 section 8.5), so also to what another user of this machine listens
with.

A name of somebody else's that resolves to 127.0.0.1 (DNS rebinding) would make their page one
origin with this one: so Host has to be an address of ours before all else.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

SAFE_METHODS = ("GET", "HEAD")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""https://www.w3.org/TR/CSP3/ and https://www.w3.org/TR/trusted-types/: scripts and styles are
files of this server, and no text can become markup."""

HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "ktnet",
}
"""Of every response."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request matters here; a header is None where there is none."""

    method: str
    host: str | None
    origin: str | None = None
    authorization: str | None = None
    fetch_site: str | None = None
    """https://www.w3.org/TR/fetch-metadata/: sent by browsers, and out of a page's reach."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not; `status` is HTTP's."""

    status: int
    reason: str


ELSEWHERE = Refusal(403, "the request comes from another site's page")


class Guard:
    """The rules of one server."""

    def __init__(self, token: str, port: int, code: str = "") -> None:
        """`code` stands for the token once, for the page that this program opens by itself."""
        self._token = token.encode()
        self._code = code.encode()
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        if port == 80:
            self._hosts |= {"127.0.0.1", "localhost"}  # browsers leave it out

    def refuse(self, asked: Asked, *, is_page: bool) -> Refusal | None:
        """Why the request is not answered; None where it is.

        `is_page` says that only the page's own files were asked for.
        """
        refusal = self._refuse_foreign(asked)
        if refusal is not None or not is_page:
            return refusal or _refuse_data(asked, self._token)
        is_read = asked.method in SAFE_METHODS
        return None if is_read else Refusal(405, "the page is only to be read")

    def redeem(self, asked: Asked) -> str | Refusal:
        """The token, for the first who asks for it with the code; nobody gets it by that again."""
        refusal = self._refuse_foreign(asked) or _refuse_data(asked, self._code)
        if refusal is not None:
            return refusal
        self.forget_code()
        return self._token.decode()

    def forget_code(self) -> None:
        """It is worth nothing any more."""
        self._code = b""

    def _refuse_foreign(self, asked: Asked) -> Refusal | None:
        host = (asked.host or "").lower()
        if host not in self._hosts:
            return Refusal(421, "this server is asked by the name of another")
        if asked.origin is not None and asked.origin != f"http://{host}":
            return ELSEWHERE
        return None


def _refuse_data(asked: Asked, secret: bytes) -> Refusal | None:
    if asked.fetch_site not in {None, "same-origin", "none"}:
        return ELSEWHERE
    if not _is_secret(asked.authorization, secret):
        return Refusal(401, "the token is missing or wrong")
    if asked.method not in SAFE_METHODS and asked.origin is None:
        return Refusal(403, "what changes something has to say from where it comes (Origin)")
    return None


def _is_secret(authorization: str | None, secret: bytes) -> bool:
    scheme, _, shown = (authorization or "").partition(" ")
    given = shown.strip().encode("utf-8", "replace")
    # In constant time: how long it takes must not tell how much of a guess was right.
    is_same = hmac.compare_digest(given, secret)
    return is_same and bool(secret) and scheme.lower() == "bearer"
