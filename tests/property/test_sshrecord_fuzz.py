"""SSH packets from whoever: opened as they were sealed, or refused; never read beyond their end."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ktnet.errors import RemoteProtocolError
from ktnet.wire.sshrecord import (
    DATA_OFFSET,
    LENGTH_BYTES,
    OVERHEAD_BYTES,
    PAYLOAD_OFFSET,
    TAG_BYTES,
    Opener,
    Sealer,
    parse_data_header,
    parse_length,
    parse_window_adjust,
    put_data_header,
    put_window_adjust,
)

KEY = bytes(range(16))
MOST = 4096
payloads = st.binary(min_size=1, max_size=2000)
ivs = st.binary(min_size=12, max_size=12)


def seal(sealer: Sealer, payload: bytes) -> bytes:
    buffer = bytearray(len(payload) + OVERHEAD_BYTES)
    buffer[PAYLOAD_OFFSET : PAYLOAD_OFFSET + len(payload)] = payload
    view = memoryview(buffer)
    return bytes(buffer[: sealer.seal(view, 0, len(payload), view, 0)])


def open_all(opener: Opener, data: bytes) -> list[bytes]:
    """As the data path does: the length first, then the packet once it is whole."""
    buffer = bytearray(data)
    view, start, found = memoryview(buffer), 0, []
    while len(buffer) - start >= LENGTH_BYTES:
        length = parse_length(buffer, start, MOST)
        end = start + LENGTH_BYTES + length + TAG_BYTES
        if end > len(buffer):
            break
        payload_bytes = opener.open(view, start, length)
        assert payload_bytes <= length - 1
        begin = start + PAYLOAD_OFFSET
        found.append(bytes(buffer[begin : begin + payload_bytes]))
        start = end
    return found


@given(st.lists(payloads, max_size=5), ivs)
@example([b"x"] * 3, b"\xff" * 12)
def test_what_is_sealed_is_opened(sent, iv):
    sealer = Sealer(KEY, iv)
    stream = b"".join(seal(sealer, payload) for payload in sent)
    assert open_all(Opener(KEY, iv), stream) == sent


@given(st.lists(payloads, min_size=2, max_size=5), st.data())
def test_a_packet_that_was_changed_lost_repeated_or_moved_is_refused(sent, data):
    sealer = Sealer(KEY, bytes(12))
    packets = [seal(sealer, payload) for payload in sent]
    first, second = packets[0], packets[1]
    at = data.draw(st.integers(LENGTH_BYTES, len(first) - 1))
    changed = first[:at] + bytes([first[at] ^ data.draw(st.integers(1, 255))]) + first[at + 1 :]
    for stream in (changed, second, second + first):
        with pytest.raises(RemoteProtocolError):
            open_all(Opener(KEY, bytes(12)), stream)
    with pytest.raises(RemoteProtocolError):
        open_all(Opener(KEY, bytes(12)), first + first)


@given(st.binary(max_size=3000))
def test_garbage_is_refused_or_waits_for_more(data):
    with contextlib.suppress(RemoteProtocolError):
        assert open_all(Opener(KEY, bytes(12)), data) == []


@given(st.integers(0, 0xFFFFFFFF))
def test_no_length_is_taken_that_the_buffer_has_no_room_for(length):
    try:
        assert 0 < parse_length(bytearray(length.to_bytes(4, "big")), 0, MOST) <= MOST
    except RemoteProtocolError:
        assert length > MOST or length % 16 or not length


@given(st.integers(0, 255), st.integers(1, 64))
def test_padding_that_leaves_no_payload_is_refused(padding, blocks):
    """From a peer that has the key, and lies."""
    inner = bytes([padding]) + bytes(16 * blocks - 1)
    header = len(inner).to_bytes(4, "big")
    packet, tag = Sealer(KEY, bytes(12)).seal_packet(header, inner)
    fine = 4 <= padding < len(inner) - 1
    if fine:
        (payload,) = open_all(Opener(KEY, bytes(12)), packet + tag)
        assert len(payload) == len(inner) - 1 - padding
    else:
        with pytest.raises(RemoteProtocolError):
            open_all(Opener(KEY, bytes(12)), packet + tag)


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=500), st.integers(-3, 3))
def test_data_is_all_there_is(channel, data, off):
    buffer = bytearray(DATA_OFFSET + len(data) + 8)
    payload_bytes = put_data_header(buffer, 0, channel, len(data))
    assert parse_data_header(buffer, 0, payload_bytes) == (channel, len(data))
    if off:
        with pytest.raises(RemoteProtocolError):
            parse_data_header(buffer, 0, payload_bytes + off)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(-9, 9))
def test_a_window_adjustment_has_one_size(channel, more_bytes, off):
    buffer = bytearray(64)
    payload_bytes = put_window_adjust(buffer, 0, channel, more_bytes)
    assert parse_window_adjust(buffer, 0, payload_bytes) == (channel, more_bytes)
    if off:
        with pytest.raises(RemoteProtocolError):
            parse_window_adjust(buffer, 0, payload_bytes + off)
