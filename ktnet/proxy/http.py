"""HTTP as a proxy's client speaks it: CONNECT, and requests in absolute form. Pure.

RFC 9110 section 9.3.6, RFC 9112 section 3.2.2. A request in absolute form is sent on in origin form
with `Connection: close`, and its connection carries nothing else: the next request may be for
somebody else, and the client opens another one for it.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import urlsplit

from ktnet.proxy.handshake import Credentials, Refused, Request
from ktnet.proxy.socks5 import parse_host
from ktnet.wire.flow import OpenFailure
from ktnet.wire.http1 import BadMessage, check_head, find_head_end

_LINE = re.compile(rb"([A-Z]{1,32}) ([!-~]{1,8192}) HTTP/1\.([01])")
_AUTHORITY = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]@/]+)):([0-9]{1,5})")

_HOP_BY_HOP = (b"connection", b"proxy-connection", b"keep-alive", b"proxy-authorization")

_FAILURES = {
    OpenFailure.REFUSED: (502, "nothing listens there"),
    OpenFailure.HOST_UNREACHABLE: (502, "it is unreachable from the cluster"),
    OpenFailure.NETWORK_UNREACHABLE: (502, "its network is unreachable from the cluster"),
    OpenFailure.TIMED_OUT: (504, "it does not answer"),
    OpenFailure.PROHIBITED: (403, "the cluster does not allow that"),
    OpenFailure.UNKNOWN_NAME: (502, "the cluster does not know this name"),
    OpenFailure.TUNNEL_DOWN: (503, "the tunnel is down at the moment"),
}

_PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    407: "Proxy Authentication Required",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class HttpProxy:
    """One client's handshake (a `ktnet.proxy.handshake.Handshake`)."""

    def __init__(self, credentials: Credentials | None) -> None:
        self.request: Request | None = None
        self._credentials = credentials
        self._buffer = b""
        self._is_connect = False

    def feed(self, data: bytes) -> bytes:
        """See Handshake."""
        seen = len(self._buffer)
        self._buffer += data
        try:
            end = find_head_end(self._buffer, seen)
            if end is None:
                return b""
            line, fields = check_head(self._buffer[:end])
        except BadMessage as error:
            raise Refused(error.reason, build_answer(error.status, error.reason)) from error
        self._authenticate(fields)
        self.request = self._parse(line, self._buffer[:end], self._buffer[end:])
        self._buffer = b""
        return b""

    def accept(self) -> bytes:
        """See Handshake. A request in absolute form is answered by its server alone."""
        return b"HTTP/1.1 200 Connection established\r\n\r\n" if self._is_connect else b""

    def refuse(self, failure: OpenFailure) -> bytes:
        """See Handshake."""
        return build_answer(*_FAILURES.get(failure, (502, "it can't be reached")))

    def _authenticate(self, fields: list[tuple[bytes, bytes]]) -> None:
        if self._credentials is None:
            return
        given = [value for name, value in fields if name == b"proxy-authorization"]
        scheme, _, text = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() == b"basic":
            try:
                user, _, password = base64.b64decode(text.strip(), validate=True).partition(b":")
            except binascii.Error:
                user, password = b"", b""
            if self._credentials.accept(user, password):
                return
        raise Refused(
            "wrong user or password",
            build_answer(
                407, "user and password, please", b'Proxy-Authenticate: Basic realm="ktnet"\r\n'
            ),
        )

    def _parse(self, line: bytes, head: bytes, rest: bytes) -> Request:
        match = _LINE.fullmatch(line)
        if match is None:
            raise _bad("the request line is not that of an HTTP/1 request")
        method, target, _ = match.groups()
        if method == b"CONNECT":
            self._is_connect = True
            return _parse_connect(target, rest)
        return _parse_absolute(method, target, head, rest)


def _parse_connect(target: bytes, rest: bytes) -> Request:
    match = _AUTHORITY.fullmatch(target)
    host = parse_host(match[1] or match[2]) if match else None
    if match is None or host is None or not 0 < int(match[3]) <= 0xFFFF:
        raise _bad("CONNECT takes HOST:PORT")
    return Request(host, int(match[3]), rest)


def _parse_absolute(method: bytes, target: bytes, head: bytes, rest: bytes) -> Request:
    try:
        url = urlsplit(target.decode("ascii"))
        host, port = url.hostname, url.port
    except ValueError as error:
        raise _bad("the target is no URL") from error
    if url.scheme != "http" or not host:
        # Also what a web page can make a browser send here: that is for nobody.
        raise _bad("this is a proxy: it takes CONNECT HOST:PORT and http:// URLs")
    name = parse_host(host.encode())
    if name is None or port == 0:
        raise _bad("the target's host is malformed")
    path = (url.path or ("*" if method == b"OPTIONS" else "/")) + (
        f"?{url.query}" if url.query else ""
    )
    _, *fields = head[:-4].split(b"\r\n")
    kept = [each for each in fields if each.partition(b":")[0].lower() not in _HOP_BY_HOP]
    first = b"\r\n".join(
        [b"%s %s HTTP/1.1" % (method, path.encode()), *kept, b"Connection: close", b"", b""]
    )
    return Request(name, port or 80, first + rest)


def build_answer(status: int, reason: str, fields: bytes = b"") -> bytes:
    """An answer of the proxy's own, after which the connection ends."""
    body = f"ktnet: {reason}\n".encode()
    return (
        b"HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
        % (status, _PHRASES.get(status, "Error").encode(), fields, len(body), body)
    )


def _bad(reason: str) -> Refused:
    return Refused(reason, build_answer(400, reason))
