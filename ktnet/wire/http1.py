"""The head of an HTTP/1 message, strictly (RFC 9112): pure.

A router that reads a message otherwise than the server behind it can be talked into sending one
client's bytes as another one's request. So whatever two parsers have been known to disagree on is
refused here: bare CR or LF, folded lines, white space around names, repeated or signed lengths,
Content-Length beside Transfer-Encoding, any transfer coding but "chunked". What passes goes on
byte for byte as it came.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 64 * 1024
"""Above what common servers take (8 to 48 KiB), so that theirs is the limit that is met."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110 section 5.6.2
_REQUEST_LINE = re.compile(rb"(%s{1,32}) ([!-~\x80-\xff]+) HTTP/1\.([01])" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELDS = re.compile(rb"(?:%s+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n" % _TOKEN)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_BARE_LF = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")


class Framing(enum.Enum):
    """How the end of a body is found (RFC 9112 section 6.3)."""

    NONE = enum.auto()
    LENGTH = enum.auto()
    CHUNKED = enum.auto()
    UNTIL_CLOSE = enum.auto()


class BadMessage(Exception):
    """The peer's fault; `status` is what a server answers to it. Stays within the router."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head that may be passed on."""

    raw: bytes
    method: bytes
    fields: list[tuple[bytes, bytes]]
    """Names in lower case."""
    framing: Framing
    length: int
    """Octets of the body; 0 where `framing` is not LENGTH."""
    keep_alive: bool
    upgrade: bool
    """Whether the connection is to speak something else afterwards."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response's head that may be passed on."""

    raw: bytes
    status: int
    framing: Framing
    length: int
    keep_alive: bool


def find_head_end(buffer: bytes | bytearray, start: int = 0) -> int | None:
    """The length of the head at the beginning of `buffer`; None while its end has not come.

    `start` is how much had come when this last said None. Raises BadMessage for what can't become
    a head any more.
    """
    end = buffer.find(b"\r\n\r\n", max(0, start - 3))
    if end < 0:
        if len(buffer) > MAX_HEAD_BYTES:
            raise BadMessage("the head of the message is too long", 431)
        if _BARE_LF.search(buffer, max(0, start - 1)):
            raise BadMessage("a line ends otherwise than in CR LF")
        return None
    if end > MAX_HEAD_BYTES:
        raise BadMessage("the head of the message is too long", 431)
    return end + 4


def parse_request_head(raw: bytes) -> RequestHead:
    """`raw` with the empty line at its end. Raises BadMessage."""
    line, fields = check_head(raw)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("the request line is not that of an HTTP/1 request")
    method, _target, minor = match.groups()
    if method == b"CONNECT":
        raise BadMessage("CONNECT is for proxies", 501)
    is_1_1 = minor == b"1"
    hosts = sum(name == b"host" for name, _ in fields)
    if hosts > 1 or (is_1_1 and hosts == 0):
        raise BadMessage("a request has exactly one Host field")
    upgrade = any(name == b"upgrade" for name, _ in fields)
    framing, length = _find_framing(fields, is_1_1=is_1_1)
    if framing is Framing.UNTIL_CLOSE:
        framing = Framing.NONE
    elif framing is Framing.CHUNKED and upgrade:
        raise BadMessage("a chunked request can't ask for an upgrade", 501)
    return RequestHead(
        raw, method, fields, framing, length, _keeps_alive(fields, is_1_1=is_1_1), upgrade
    )


def parse_response_head(raw: bytes, method: bytes) -> ResponseHead:
    """`raw` with the empty line at its end; `method` is the request's. Raises BadMessage."""
    line, fields = check_head(raw)
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("the status line is not that of an HTTP/1 response", 502)
    is_1_1, status = match[1] == b"1", int(match[2])
    framing, length = _find_framing(fields, is_1_1=is_1_1)
    if status < 200 or status in (204, 304) or method == b"HEAD":
        framing, length = Framing.NONE, 0
    keep_alive = framing is not Framing.UNTIL_CLOSE and _keeps_alive(fields, is_1_1=is_1_1)
    return ResponseHead(raw, status, framing, length, keep_alive)


def build_closing(raw: bytes) -> bytes:
    """The same head with `Connection: close`, whatever it said of the connection before."""
    line, *fields = raw[:-4].split(b"\r\n")
    kept = [each for each in fields if each.partition(b":")[0].lower() not in _CONNECTION_FIELDS]
    return b"\r\n".join([line, *kept, b"Connection: close", b"", b""])


def build_without_upgrade(raw: bytes) -> bytes:
    """The same head with nothing in it that asks for an upgrade."""
    line, *fields = raw[:-4].split(b"\r\n")
    kept = [each for each in fields if each.partition(b":")[0].lower() not in _UPGRADE_FIELDS]
    return b"\r\n".join([line, *kept, b"", b""])


def build_refusal(status: int, reason: str) -> bytes:
    """A whole response of the router's own, after which the connection ends."""
    body = f"ktnet router: {reason}\n".encode()
    return (
        f"HTTP/1.1 {status} {_PHRASES.get(status, 'Error')}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + body


def split_list(value: bytes) -> list[bytes]:
    """The members of a comma-separated field value, in lower case (RFC 9110 section 5.6.1)."""
    return [member for part in value.split(b",") if (member := part.strip(b" \t").lower())]


_CONNECTION_FIELDS = (b"connection", b"keep-alive", b"proxy-connection")
_UPGRADE_FIELDS = (b"connection", b"upgrade", b"http2-settings")
_PHRASES = {
    400: "Bad Request",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
}


def check_head(raw: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """First line, unchecked, and fields, names in lower case. Raises BadMessage."""
    line, _, rest = raw.partition(b"\r\n")
    if not _FIELDS.fullmatch(rest):
        raise BadMessage("a header field is malformed")
    fields = []
    for each in rest[:-4].split(b"\r\n") if len(rest) > 2 else ():
        name, _, value = each.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return line, fields


def _find_framing(fields: list[tuple[bytes, bytes]], *, is_1_1: bool) -> tuple[Framing, int]:
    """UNTIL_CLOSE where nothing is said."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings:
        if lengths:
            raise BadMessage("Content-Length beside Transfer-Encoding")
        if not is_1_1:
            raise BadMessage("Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadMessage("a transfer coding other than chunked", 501)
        return Framing.CHUNKED, 0
    if lengths:
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise BadMessage("Content-Length is not one number")
        return Framing.LENGTH, int(lengths[0])
    return Framing.UNTIL_CLOSE, 0


def _keeps_alive(fields: list[tuple[bytes, bytes]], *, is_1_1: bool) -> bool:
    """RFC 9112 section 9.3."""
    options = [
        option for name, value in fields if name == b"connection" for option in split_list(value)
    ]
    return b"close" not in options and (is_1_1 or b"keep-alive" in options)
