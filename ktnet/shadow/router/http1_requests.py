"""What a request's head says beyond where it goes: pure."""

from __future__ import annotations

from ktnet.wire.http1 import (
    Framing,
    RequestHead,
    build_without_upgrade,
    parse_request_head,
    split_list,
)

REPEATABLE = (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE")
"""May be sent again where it isn't known what became of them (RFC 9110 section 9.2.2)."""


def may_repeat(head: RequestHead) -> bool:
    """Whether it can be sent again: by its method, and since nothing of it has gone for good."""
    return head.method in REPEATABLE and not head.length and head.framing is not Framing.CHUNKED


def without_h2c(head: RequestHead) -> RequestHead:
    """An upgrade to HTTP/2 would take all later requests where this one goes; nobody needs it
    (RFC 9113 section 3.1), and a server may ignore it, so it isn't asked for."""
    wanted = {
        option for name, value in head.fields if name == b"upgrade" for option in split_list(value)
    }
    if b"h2c" not in wanted:
        return head
    return parse_request_head(build_without_upgrade(head.raw))
