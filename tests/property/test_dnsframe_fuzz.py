"""Whatever comes, in whatever pieces: messages, or the one error that says it is their fault."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ktnet.errors import RemoteProtocolError
from ktnet.wire.dnsframe import FrameReader, build_frame
from ktnet.wire.dnsmessage import (
    build_servfail,
    is_answer_to,
    is_query,
    is_truncated,
    parse_id,
    parse_question,
)

messages = st.binary(min_size=1, max_size=600)
headers = st.binary(min_size=12, max_size=12)
dns_like = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda head, rest: head[:4] + b"\0\1" + head[6:] + rest, headers, st.binary(max_size=300)
    ),
)


@given(st.lists(messages, max_size=8), st.data())
@settings(max_examples=100)
def test_messages_survive_any_cutting(sent, data):
    stream = b"".join(build_frame(message) for message in sent)
    reader, received = FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        received += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert received == sent


@given(st.binary(max_size=2000))
@settings(max_examples=200)
def test_garbage_is_cut_alike_whole_and_byte_by_byte(stream):
    def cut(pieces):
        reader, received = FrameReader(), []
        try:
            for piece in pieces:
                received += reader.feed(piece)
        except RemoteProtocolError:
            return "their fault"
        return received

    assert cut([stream]) == cut([bytes([byte]) for byte in stream])


@given(dns_like, dns_like)
@settings(max_examples=300)
def test_messages_parse_or_are_their_fault(message, other):
    is_query(message)
    is_truncated(message)
    is_answer_to(message, other)
    for parse in (parse_id, parse_question):
        try:
            parse(message)
        except RemoteProtocolError:
            continue
    try:
        answer = build_servfail(message)
    except RemoteProtocolError:
        return
    assert is_answer_to(message, answer)
    assert len(answer) <= len(message)
