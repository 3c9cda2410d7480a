"""Channel messages from whoever: read as they were built, or refused."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktnet.errors import RemoteProtocolError
from ktnet.stream.control import ChannelControl
from ktnet.wire.sshchannel import (
    DIRECT_TCPIP,
    MSG_CHANNEL_OPEN,
    MSG_CLOSE,
    MSG_OPEN_CONFIRMATION,
    MSG_OPEN_FAILURE,
    MSG_REQUEST,
    TcpOpen,
    Terms,
    build_open_confirmation,
    build_open_failure,
    build_tcp_open,
    build_to_channel,
    build_window_growth,
    parse_open_confirmation,
    parse_open_failure,
    parse_open_kind,
    parse_recipient,
    parse_tcp_open,
    parse_wants_reply,
    parse_window_growth,
)

numbers = st.integers(0, 0xFFFFFFFF)
terms = st.builds(Terms, numbers, numbers, st.integers(1, 0xFFFFFFFF))
names = st.text(st.characters(codec="utf-8"), max_size=300)
opens = st.builds(TcpOpen, terms, names, numbers, st.tuples(names, numbers))


@given(opens)
def test_a_request_is_read_as_it_was_built(request_):
    payload = build_tcp_open(DIRECT_TCPIP, request_)
    assert parse_open_kind(payload) == DIRECT_TCPIP
    assert parse_tcp_open(payload) == request_


@given(opens, st.data())
def test_a_request_that_is_cut_or_longer_is_refused(request_, data):
    payload = build_tcp_open(DIRECT_TCPIP, request_)
    cut = data.draw(st.integers(1, len(payload) - 1))
    for changed in (payload[:cut], payload + b"x"):
        with pytest.raises(RemoteProtocolError):
            parse_tcp_open(changed)


@given(numbers, terms, st.text(st.characters(codec="utf-8"), max_size=50))
def test_answers_are_read_as_they_were_built(number, theirs, reason):
    confirmation = build_open_confirmation(number, theirs)
    assert parse_recipient(confirmation) == number
    assert parse_open_confirmation(confirmation) == theirs
    failure = build_open_failure(number, theirs.number, reason)
    assert parse_recipient(failure) == number
    assert parse_open_failure(failure) == theirs.number


@given(numbers, numbers, st.integers(0, 30))
def test_a_windows_growth_is_read_as_it_was_built_or_refused(number, count, cut):
    payload = build_window_growth(number, count)
    assert parse_recipient(payload) == number
    assert not parse_wants_reply(payload)
    assert parse_window_growth(payload) == count
    for changed in (payload[: min(5 + cut, len(payload) - 1)], payload + b"x"):
        with pytest.raises(RemoteProtocolError):
            parse_window_growth(changed)


@given(numbers, st.binary(max_size=40), st.booleans())
def test_other_requests_are_of_no_growth(number, kind, reply):
    payload = build_to_channel(MSG_REQUEST, number) + len(kind).to_bytes(4, "big") + kind
    assert parse_window_growth(payload + bytes((reply,))) is None


@given(st.binary(min_size=1, max_size=200))
def test_anything_is_read_or_refused(payload):
    for parse in (
        *(parse_open_kind, parse_tcp_open, parse_open_confirmation, parse_open_failure),
        *(parse_recipient, parse_wants_reply, parse_window_growth),
    ):
        with contextlib.suppress(RemoteProtocolError):
            parse(payload)


class Nobody:
    """A client and session that only remembers that it is over."""

    def __init__(self):
        self.over = 0

    def build_session(self):
        return self

    def open_refused(self, code):
        self.over += 1

    def open_lost(self):
        self.over += 1

    def begin(self, channel, theirs, window_bytes):
        pass

    def session_started(self):
        pass

    def eof_received(self):
        return True

    def window_grows(self, count):
        pass

    def connection_lost(self, exc):
        self.over += 1


kinds = st.integers(MSG_CHANNEL_OPEN, 100)


@given(st.lists(st.tuples(kinds, st.booleans(), st.binary(max_size=20)), max_size=12))
def test_whatever_comes_for_a_channel_it_ends_once(messages):
    """In any order, with any contents: dealt with or refused, and the client hears of one end."""

    async def scenario():
        sent = []
        control = ChannelControl(sent.append)
        control.serve = lambda request: request.refuse(1, "no")
        client = Nobody()
        channel = control.ask(client, ("10.0.0.1", 80), ("127.0.0.1", 1), 1 << 20)
        theirs = Terms(5, 1 << 20, 1 << 15)
        for kind, well_formed, contents in messages:
            payload = build_to_channel(kind, channel.number) + contents
            if well_formed and kind == MSG_OPEN_CONFIRMATION:
                payload = build_open_confirmation(channel.number, theirs)
            elif well_formed and kind == MSG_OPEN_FAILURE:
                payload = build_open_failure(channel.number, 2, "no")
            elif well_formed:
                payload = build_to_channel(kind, channel.number)
            try:
                control.take(payload)
            except RemoteProtocolError:
                break
            await asyncio.sleep(0)
        control.connection_lost(None)
        assert client.over == 1
        closes = [each for each in sent if each[0] == MSG_CLOSE]
        assert len(closes) <= 1

    asyncio.run(scenario())
