"""What leaves together, in which order, and in how many packets."""

from __future__ import annotations

import struct

import pytest

from ktnet.stream.outbox import BATCH_BYTES, WHOLE_BYTES, Outbox
from ktnet.stream.scratch import Scratch
from ktnet.wire.sshrecord import (
    LENGTH_BYTES,
    PAYLOAD_OFFSET,
    TAG_BYTES,
    Opener,
    Sealer,
    parse_length,
)
from ktnet.wire.window import PACKET_BYTES

KEY, IV = bytes(range(16)), bytes(12)
EOF = struct.pack(">BI", 96, 7)


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(KEY, IV)


def read(outbox: Outbox, opener: Opener | None = None) -> list[tuple[object, ...]]:
    """Opens what is taken from the outbox, as the peer would: in the order of the nonces."""
    view = memoryview(bytearray(outbox.take()))
    opener = opener or Opener(KEY, IV)
    found: list[tuple[object, ...]] = []
    start = 0
    while start < len(view):
        length = parse_length(view, start, len(view))
        count = opener.open(view, start, length)
        payload = bytes(view[start + PAYLOAD_OFFSET : start + PAYLOAD_OFFSET + count])
        if payload[0] == 94:
            _, number, size = struct.unpack_from(">BII", payload)
            assert size == len(payload) - 9
            found.append(("data", number, payload[9:]))
        elif payload[0] == 93:
            found.append(("adjust", *struct.unpack_from(">II", payload, 1)))
        else:
            found.append(("other", payload))
        start += LENGTH_BYTES + length + TAG_BYTES
    return found


def test_what_one_channel_sends_in_a_row_is_one_packet(sealer):
    outbox = Outbox()
    for piece in (b"one ", b"two ", b"three"):
        outbox.add_data(sealer, 7, memoryview(piece), PACKET_BYTES)
    assert read(outbox) == [("data", 7, b"one two three")]


def test_nothing_overtakes_anything(sealer):
    outbox = Outbox()
    outbox.add_data(sealer, 7, memoryview(b"a"), PACKET_BYTES)
    outbox.add_data(sealer, 8, memoryview(b"b"), PACKET_BYTES)
    outbox.add_data(sealer, 7, memoryview(b"c"), PACKET_BYTES)
    outbox.add_window_adjust(sealer, 9, 1000)
    outbox.add_data(sealer, 7, memoryview(b"d"), PACKET_BYTES)
    outbox.add_payload(sealer, EOF)
    assert read(outbox) == [
        ("data", 7, b"a"),
        ("data", 8, b"b"),
        ("data", 7, b"c"),
        ("adjust", 9, 1000),
        ("data", 7, b"d"),
        ("other", EOF),
    ]


def test_a_packet_has_no_more_than_the_peer_takes(sealer):
    outbox = Outbox()
    for piece in (b"x" * 600, b"y" * 400, b"z"):
        outbox.add_data(sealer, 7, memoryview(piece), 1000)
    assert read(outbox) == [("data", 7, b"x" * 600 + b"y" * 400), ("data", 7, b"z")]


def test_where_somebody_waits_packets_are_not_made_larger(sealer):
    outbox = Outbox()
    for piece in (b"one", b"two"):
        outbox.add_data(sealer, 7, memoryview(piece), 0)
    assert read(outbox) == [("data", 7, b"one"), ("data", 7, b"two")]


def test_who_seals_a_packet_elsewhere_closes_the_one_that_is_being_gathered(sealer):
    outbox = Outbox()
    outbox.add_data(sealer, 7, memoryview(b"before"), PACKET_BYTES)
    outbox.close_packet()
    padding = 16 - (1 + len(EOF)) % 16
    length = 1 + len(EOF) + padding
    packet, tag = sealer.seal_packet(
        struct.pack(">I", length), bytes((padding,)) + EOF + bytes(padding)
    )
    assert outbox.add_sealed(packet + tag)
    outbox.add_data(sealer, 7, memoryview(b"after"), PACKET_BYTES)
    outbox.close_packet()
    # Who seals elsewhere counts that there.
    assert outbox.uncounted_bytes == outbox.sealed_bytes - len(packet + tag)
    assert read(outbox) == [("data", 7, b"before"), ("other", EOF), ("data", 7, b"after")]


@pytest.mark.parametrize("from_scratch", [False, True])
def test_large_data_is_sealed_at_once_and_from_where_it_was_read(sealer, from_scratch):
    outbox, scratch = Outbox(), Scratch(PACKET_BYTES)
    data = bytes(range(256)) * (PACKET_BYTES // 256)
    view = memoryview(data)
    if from_scratch:
        scratch.room[: len(data)] = data
        view = scratch.take(len(data))
    outbox.add_data(sealer, 7, memoryview(b"little"), len(data))
    outbox.add_data(sealer, 7, view, len(data))
    assert not outbox.gathered_bytes
    assert outbox.sealed_bytes > len(data)
    assert read(outbox) == [("data", 7, b"little"), ("data", 7, data)]


def test_there_is_room_for_the_most_that_may_come_before_it_is_emptied(sealer):
    outbox, opener = Outbox(), Opener(KEY, IV)
    for _ in range(2):
        filling = BATCH_BYTES - 100
        while outbox.sealed_bytes < filling:
            outbox.add_payload(sealer, bytes((80,)) * 1000)
        while outbox.gathered_bytes + WHOLE_BYTES <= PACKET_BYTES:
            outbox.add_data(sealer, 7, memoryview(bytes(WHOLE_BYTES)), PACKET_BYTES)
        rest = PACKET_BYTES - outbox.gathered_bytes
        outbox.add_data(sealer, 7, memoryview(bytes(rest)), PACKET_BYTES)
        assert outbox.gathered_bytes == PACKET_BYTES
        outbox.add_data(sealer, 8, memoryview(bytes(PACKET_BYTES)), PACKET_BYTES)
        assert not outbox.add_sealed(b"there is no room for more of somebody else's")
        found = read(outbox, opener)
        assert [len(each[-1]) for each in found[-2:]] == [PACKET_BYTES, PACKET_BYTES]


def test_an_empty_one_has_nothing(sealer):
    assert not Outbox().take()
