"""What a client speaks, by the first bytes of its connection: pure.

A method is recognised by its first bytes, so that a slow or hostile sender of a request is waited
for, and never taken for something that may pass by bytes.
"""

from __future__ import annotations

import enum
import re

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 section 3.4."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*")
_LONGEST_METHOD = 32
_LONGEST_LINE = 8192
"""Of a method that nobody knows, the whole request line is waited for, but no longer one."""

_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK"
    b" UNLOCK SEARCH REPORT PURGE QUERY".split()
)
"""https://www.iana.org/assignments/http-methods, those in use."""

_REQUEST_LINE = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9.]+\r?")


class Spoken(enum.Enum):
    """What a connection speaks."""

    HTTP1 = enum.auto()
    HTTP2 = enum.auto()
    OTHER = enum.auto()


def sniff(data: bytes) -> Spoken | None:
    """What `data`, the beginning of a connection, belongs to; None: too early to tell."""
    if data[: len(HTTP2_PREFACE)] == HTTP2_PREFACE[: len(data)]:
        return Spoken.HTTP2 if len(data) >= len(HTTP2_PREFACE) else None
    # Empty lines before a request are to be ignored (RFC 9112 section 2.2).
    data = data.lstrip(b"\r\n")
    token = _TOKEN.match(data)
    method = token[0] if token else b""
    if len(method) == len(data):
        return None if len(method) <= _LONGEST_METHOD else Spoken.OTHER
    if not method or data[len(method) : len(method) + 1] != b" ":
        return Spoken.OTHER
    return Spoken.HTTP1 if method in _METHODS else _sniff_line(data)


def _sniff_line(data: bytes) -> Spoken | None:
    """By the form of the whole line, where the method is none that we know."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return Spoken.HTTP1 if _REQUEST_LINE.fullmatch(line) else Spoken.OTHER
    return None if len(line) < _LONGEST_LINE else Spoken.OTHER
