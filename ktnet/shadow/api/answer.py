"""What an API server answers, from bytes: pure.

One answer a connection (RFC 9112), read by llhttp. It has to say where it ends, by its length or by
chunks, so that what was cut off is never taken for a whole; and it has to be JSON.
"""

from __future__ import annotations

import json
from typing import Any

import httptools

Json = dict[str, Any]

MOST_HEAD_BYTES = 64 * 1024

MOST_BODY_BYTES = 8 * 1024 * 1024
"""An object has at most 1.5 MiB (etcd's bound on a request), and lists come in pages."""


class ApiFailed(Exception):
    """The API server didn't do what it was asked for. Stays within the shadow."""


class ApiUnreachable(ApiFailed):
    """It wasn't reached, isn't the one, or said nothing that can be read: it may have done it."""


class ApiRefused(ApiFailed):
    """It said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        """Of HTTP: 403 Forbidden, 404 NotFound, 409 Conflict, 422 a patch's test that failed."""


class Answer:
    """One, while it comes."""

    def __init__(self) -> None:
        self.is_whole = False
        self._status = 0
        self._head_bytes = 0
        self._is_head = True
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """What has come. Raises ApiUnreachable for what is no answer, or too long for one."""
        if self._is_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise ApiUnreachable(f"that is no HTTP answer: {error}") from error
        if self._is_head and self._head_bytes > MOST_HEAD_BYTES:
            raise ApiUnreachable("the head of the answer is too long")
        if len(self._body) > MOST_BODY_BYTES:
            raise ApiUnreachable(f"the answer has more than {MOST_BODY_BYTES} octets")

    def read(self) -> Json:
        """Its object, once it `is_whole`. Raises ApiRefused for any status but 200 to 299, thus
        for redirections too: who may send us elsewhere could as well have answered."""
        try:
            obj = json.loads(self._body.decode())
        except (ValueError, RecursionError) as error:
            obj = error
        if not 200 <= self._status < 300:
            message = obj.get("message") if isinstance(obj, dict) else None
            raise ApiRefused(self._status, message if isinstance(message, str) else "")
        if not isinstance(obj, dict):
            raise ApiUnreachable("the answer is no JSON object")
        return obj

    # -- what llhttp calls ---------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        """The status is known."""
        self._status = self._parser.get_status_code()
        self._is_head = False

    def on_body(self, data: bytes) -> None:
        """A part of it."""
        if not self.is_whole:
            self._body += data

    def on_message_complete(self) -> None:
        """Its end; unless it is one that only says that another is to come (RFC 9110 15.2)."""
        if self._status >= 200:
            self.is_whole = True
        else:
            self._is_head = True
