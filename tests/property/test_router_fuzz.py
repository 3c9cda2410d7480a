"""Whatever clients and servers send: the router goes on, and no request is misrouted.

The oracle is h11, reading what each destination was sent: a request that it finds there has to be
one that belongs there, however the bytes before it were twisted.
"""

from __future__ import annotations

import contextlib
from typing import Any

import h2.config
import h2.connection
import h2.events
import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st
from router_world import World

from ktnet.shadow.router.http1 import Http1Connection
from ktnet.shadow.router.http2 import Http2Connection
from ktnet.shadow.router.sniff import HTTP2_PREFACE
from ktnet.wire.http1 import BadMessage, find_head_end, parse_request_head

PARTS = st.lists(
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n",
            b"POST /x HTTP/1.1\r\n",
            b"HEAD / HTTP/1.0\r\n",
            b"Host: a\r\n",
            b"version: alice\r\n",
            b"version : alice\r\n",
            b" version: alice\r\n",
            b"baggage: version=alice\r\n",
            b"Content-Length: 5\r\n",
            b"Content-Length: 0\r\n",
            b"Content-Length: 43\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding:\x0bchunked\r\n",
            b"Connection: close\r\n",
            b"Upgrade: websocket\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"0\r\n\r\n",
            b"5\r\nhello\r\n",
            b"hello",
            b"GET / HTTP/1.1\r\nHost: a\r\nversion: alice\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x00",
            b":",
        ]
    ),
    max_size=14,
).map(b"".join)
CLIENT = st.one_of(PARTS, st.binary(max_size=200))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def read_requests(sent: bytes) -> list[h11.Request]:
    """Those that h11 finds, which reads more leniently than the router."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(sent)
    found = []
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                found.append(event)
            elif isinstance(event, h11.EndOfMessage):
                server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                server.send(h11.EndOfMessage())
            elif event is h11.PAUSED:
                server.start_next_cycle()
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return found
    except h11.ProtocolError:
        return found


def is_marked(request: h11.Request) -> bool:
    return any(
        (name == b"version" and value == b"alice")
        or (name == b"baggage" and b"version=alice" in value)
        for name, value in request.headers
    )


@given(CLIENT, st.sampled_from([1, 7, 1000]), st.lists(CLIENT, max_size=2), st.booleans())
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2, 1000, [], False)
@example(
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 43\r\n\r\n"
    b"GET / HTTP/1.1\r\nHost: a\r\nversion: alice\r\n\r\n",
    1000,
    [],
    True,
)
@settings(max_examples=400, deadline=None)
def test_http1_requests_reach_only_where_they_belong(
    data: bytes, step: int, later: list[bytes], falls_silent: bool
) -> None:
    world = World(Http1Connection)
    world.feed(data, step)
    if falls_silent:
        world.fall_silent()
    for more in later:
        world.answer(ANSWER)
        world.feed(more, step)
    for flow, _ in world.origin.connections:
        requests = read_requests(bytes(flow.sent))
        assert falls_silent or not any(is_marked(request) for request in requests)
    for flow, _ in world.laptop.connections:
        assert all(is_marked(request) for request in read_requests(bytes(flow.sent)))


@given(st.one_of(PARTS, st.binary(max_size=200)), st.sampled_from([1, 1000]))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 1000)
@settings(max_examples=200, deadline=None)
def test_http1_answers_of_any_kind(answer: bytes, step: int) -> None:
    for first in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"):
        world = World(Http1Connection)
        world.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1000)
        data = first + answer
        for start in range(0, len(data), step):
            world.answer(data[start : start + step])
        for _, receiver in world.origin.connections:
            receiver.closed(reset=False)
        world.router.closed(reset=False)


@given(CLIENT)
@settings(max_examples=300, deadline=None)
def test_heads_are_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadMessage):
        end = find_head_end(data)
        if end is not None:
            assert parse_request_head(data[:end]).raw == data[:end]


FRAME = st.builds(
    lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload
    ),
    st.integers(0, 10),
    st.integers(0, 255),
    st.integers(0, 7),
    st.binary(max_size=40),
)


@given(
    st.lists(FRAME, max_size=8).map(b"".join),
    st.lists(FRAME, max_size=8).map(b"".join),
    st.sampled_from([1, 13, 1000]),
)
@settings(max_examples=300, deadline=None)
def test_http2_frames_of_any_kind(sent: bytes, answered: bytes, step: int) -> None:
    world = World(Http2Connection)
    settings_frame = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    # HEADERS on stream 1: GET http / with an authority (RFC 7541 C.3.1).
    block = bytes.fromhex("828684410f7777772e6578616d706c652e636f6d")
    request = len(block).to_bytes(3) + b"\x01\x05\x00\x00\x00\x01" + block
    world.feed(HTTP2_PREFACE + settings_frame + request + sent, step)
    world.answer(settings_frame + answered)
    world.router.resume_writing()
    world.router.closed(reset=True)


STEP = st.one_of(
    st.tuples(st.just("ask"), st.booleans(), st.booleans()),
    st.tuples(st.just("send"), FRAME),
    st.tuples(st.just("answer"), FRAME),
    st.tuples(st.just("fall silent")),
)


@given(st.lists(STEP, max_size=8), st.sampled_from([1, 13, 1000]))
@example([("ask", True, False), ("fall silent",), ("ask", True, False), ("ask", False, True)], 1000)
@settings(max_examples=150, deadline=None)
def test_http2_requests_reach_only_where_they_belong(steps: list[Any], step: int) -> None:
    world = World(Http2Connection)
    client = h2.connection.H2Connection()
    client.initiate_connection()
    settings_frame = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    for kind, *what in steps:
        if kind == "ask":
            marked, has_body = what
            stream = client.get_next_available_stream_id()
            fields = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]
            mark = [("version", "alice")] if marked else []
            client.send_headers(stream, [*fields, *mark], end_stream=not has_body)
            world.feed(client.data_to_send(), step)
        elif kind == "send":
            world.feed(what[0], step)
        elif kind == "answer":
            world.answer(settings_frame + what[0])
        else:
            world.fall_silent()
    is_silent = ("fall silent",) in steps
    for flow, _ in world.origin.connections:
        assert is_silent or not any(read_marks(bytes(flow.sent)))
    for flow, _ in world.laptop.connections:
        assert all(read_marks(bytes(flow.sent)))
    world.router.closed(reset=True)


def read_marks(sent: bytes) -> list[bool]:
    """Of each request that h2 finds there, whether it bears the mark."""
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding=None)
    )
    return [
        (b"version", b"alice") in event.headers
        for event in server.receive_data(sent)
        if isinstance(event, h2.events.RequestReceived)
    ]
