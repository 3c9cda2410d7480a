"""What passes as a head, a body's chunks, a protocol and a mark, by the RFCs' own words."""

import pytest

from ktnet.shadow.router.bodies import open_body
from ktnet.shadow.router.goaway import Goaway, GoawayFilter, build_goaway
from ktnet.shadow.router.marks import find_marked
from ktnet.shadow.router.sniff import HTTP2_PREFACE, Spoken, sniff
from ktnet.wire.http1 import (
    BadMessage,
    Framing,
    build_closing,
    find_head_end,
    parse_request_head,
    parse_response_head,
)

REFUSED = {
    "RFC 9112 2.2: bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "RFC 9112 2.2: bare CR": b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
    "RFC 9112 3: two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "RFC 9112 3: space behind": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "RFC 9112 3: tab": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "RFC 9112 2.3: another major version": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "RFC 9112 2.3: lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "RFC 9112 3.2: no Host": b"GET / HTTP/1.1\r\n\r\n",
    "RFC 9112 3.2: two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "RFC 9112 5.1: space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nversion : alice\r\n\r\n",
    "RFC 9112 5.2: obs-fold": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "RFC 9112 5.2: obs-fold first": b"GET / HTTP/1.1\r\n X: b\r\nHost: a\r\n\r\n",
    "RFC 9110 5.1: empty name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "RFC 9110 5.5: NUL": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nversion\r\n\r\n",
    "RFC 9112 6.1: both": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "RFC 9112 6.1: chunked in 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "RFC 9112 6.1: unknown coding": b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br\r\n\r\n",
    "RFC 9112 6.1: chunked twice": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"
    ),
    "two fields": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"
    ),
    "RFC 9112 6.3: two lengths": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"
    ),
    "list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
    "length in hex": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n",
    "other digits": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ٣\r\n\r\n".encode(),
    "huge length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_refused(raw: bytes):
    with pytest.raises(BadMessage):
        parse_request_head(raw[: find_head_end(raw)])


def test_head_that_never_ends_is_refused():
    with pytest.raises(BadMessage) as refused:
        find_head_end(b"GET / HTTP/1.1\r\nX: " + b"a" * 70000)
    assert refused.value.status == 431


def test_head_passes_as_it_came():
    raw = (
        b"PoSt http://a/?%00 HTTP/1.1\r\nhOST:a\r\nX:\r\nX: \xff b \t\r\nContent-Length: 07\r\n\r\n"
    )
    head = parse_request_head(raw)
    assert head.raw == raw
    assert (head.framing, head.length, head.keep_alive) == (Framing.LENGTH, 7, True)
    assert (b"x", b"\xff b") in head.fields


@pytest.mark.parametrize(
    ("raw", "method", "framing"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", Framing.NONE),
        (b"HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n", b"GET", Framing.NONE),
        (b"HTTP/1.1 304\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET", Framing.NONE),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"GET", Framing.UNTIL_CLOSE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", b"GET", Framing.CHUNKED),
    ],
)
def test_response_framing(raw: bytes, method: bytes, framing: Framing):
    assert parse_response_head(raw, method).framing is framing


@pytest.mark.parametrize(
    ("raw", "keeps"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_keep_alive(raw: bytes, keeps: bool):
    assert parse_request_head(raw).keep_alive is keeps


def test_closing_head():
    raw = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nX: connection\r\n\r\n"
    assert build_closing(raw) == b"HTTP/1.1 200 OK\r\nX: connection\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_chunks_are_written_plainly(step: int):
    head = parse_request_head(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    body = open_body(head)
    assert body is not None
    raw = b'3;a="b"\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n'
    out = b"".join(body.feed(raw[i : i + step]) for i in range(0, len(raw), step))
    assert body.done
    assert not body.excess
    assert out.replace(b"1\r\na\r\n1\r\nb\r\n1\r\nc", b"3\r\nabc").endswith(
        b"0\r\nX-Sum: 1\r\n\r\n"
    )


@pytest.mark.parametrize(
    "chunks",
    [b"3\nabc\r\n", b" 3\r\nabc\r\n", b"3 \r\nabc\r\n", b"-3\r\n", b"fffffffffffffffff\r\n"],
)
def test_malformed_chunks(chunks: bytes):
    head = parse_request_head(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    body = open_body(head)
    assert body is not None
    with pytest.raises(BadMessage):
        body.feed(chunks)


@pytest.mark.parametrize(
    ("data", "spoken"),
    [
        (b"", None),
        (b"GE", None),
        (b"GET", None),
        (b"GET ", Spoken.HTTP1),
        (b"\r\nGET /", Spoken.HTTP1),
        (b"PRI", None),
        (b"PRI * HTTP/2.0\r\n\r\nS", None),
        (HTTP2_PREFACE + b"x", Spoken.HTTP2),
        (b"PRIx", None),
        (b"PRIx ", None),
        (b"FOO / HTTP/1.1\r\n", Spoken.HTTP1),
        (b"EHLO mail.example\r\n", Spoken.OTHER),
        (b"*1\r\n$4\r\nPING\r\n", Spoken.OTHER),
        (b"\x16\x03\x01", Spoken.OTHER),
        (b"SSH-2.0-x\r\n", Spoken.OTHER),
        (b"a" * 40, Spoken.OTHER),
    ],
)
def test_sniff(data: bytes, spoken: Spoken | None):
    assert sniff(data) is spoken


MARKS = {b"version": {b"alice": 1, b"a b": 2}, b"x-dev": {b"bob": 3}}


@pytest.mark.parametrize(
    ("fields", "whose"),
    [
        ([], None),
        ([(b"version", b"alice")], 1),
        ([(b"version", b"Alice")], None),
        ([(b"x-dev", b"bob"), (b"version", b"alice")], 3),
        ([(b"baggage", b"version=alice")], 1),
        ([(b"baggage", b"x=1 , version = a%20b ; ttl=3, y=2")], 2),
        ([(b"baggage", b"version=alice"), (b"x-dev", b"bob")], 3),
        ([(b"baggage", b"version")], None),
        ([(b"baggage", b"versions=alice")], None),
    ],
)
def test_marks(fields: list, whose: int | None):
    assert find_marked(fields, MARKS) == whose


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_goaway_is_taken_out(step: int):
    ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678"
    stream = b"P" * 24 + ping + build_goaway(5, 2) + ping
    split = GoawayFilter(24)
    found = [part for i in range(0, len(stream), step) for part in split.feed(stream[i : i + step])]
    assert b"".join(each for each in found if isinstance(each, bytes)) == b"P" * 24 + ping + ping
    assert [each for each in found if isinstance(each, Goaway)] == [Goaway(5, 2)]
