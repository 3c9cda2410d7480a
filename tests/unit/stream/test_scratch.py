"""Sealing from where something was read, without moving it first."""

import os

from ktnet.stream.scratch import PACKET_START, Scratch, find_scratch
from ktnet.wire.sshrecord import (
    DATA_OFFSET,
    LENGTH_BYTES,
    OVERHEAD_BYTES,
    Opener,
    Sealer,
    parse_data_header,
    parse_length,
    put_data_header,
)

KEY, IV = bytes(range(16)), bytes(12)
MOST_BYTES = 1000


def read_into(scratch: Scratch, data: bytes) -> memoryview:
    scratch.room[: len(data)] = data
    return scratch.take(len(data))


def test_only_all_of_what_was_read_is_known_by_its_scratch():
    scratch = Scratch(MOST_BYTES)
    view = read_into(scratch, b"abcdef")
    assert find_scratch(view) is scratch
    assert find_scratch(memoryview(view)) is scratch
    # Behind or before a part of it is the rest, which a packet's ends would overwrite.
    assert find_scratch(view[:5]) is None
    assert find_scratch(view[1:]) is None
    assert find_scratch(memoryview(b"abcdef")) is None


def test_a_packet_is_sealed_elsewhere_at_every_size():
    scratch, opener = Scratch(MOST_BYTES), Opener(KEY, IV)
    sealer = Sealer(KEY, IV)
    out = memoryview(bytearray(MOST_BYTES + DATA_OFFSET + OVERHEAD_BYTES + 7))
    for size in [*range(1, 40), MOST_BYTES]:
        data = os.urandom(size)
        read_into(scratch, data)
        payload_bytes = put_data_header(scratch, PACKET_START, 5, size)
        end = sealer.seal(scratch.whole, PACKET_START, payload_bytes, out, 7)
        length = parse_length(out, 7, len(out))
        assert end == 7 + LENGTH_BYTES + length + 16
        assert opener.open(out, 7, length) == payload_bytes
        assert parse_data_header(out, 7, payload_bytes) == (5, size)
        assert out[7 + DATA_OFFSET : 7 + DATA_OFFSET + size] == data
