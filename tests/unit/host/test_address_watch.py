"""What the kernel's notices tell of addresses, whatever is in them."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from ktnet.host.addresswatch import parse_changes


def notice(kind: int, index: int, rest: bytes = b"") -> bytes:
    """An rtnetlink message about an address, padded as rtnetlink(7) has it."""
    body = struct.pack("=BBBBI", 2, 24, 0, 0, index) + rest
    message = struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body
    return message + bytes(-len(message) % 4)


def test_addresses_that_come_and_go() -> None:
    assert parse_changes(b"") == set()
    assert parse_changes(notice(20, 7) + notice(21, 3, b"\1\2\3") + notice(20, 7)) == {3, 7}
    assert parse_changes(notice(16, 7) + notice(21, 3)) == {3}


def test_what_is_cut_off_is_nothing() -> None:
    whole = notice(21, 3)
    for size in range(len(whole)):
        assert parse_changes(whole[:size]) == set()
    assert parse_changes(notice(20, 7) + whole[:-1]) == {7}


@given(st.binary(max_size=200))
def test_anything(data: bytes) -> None:
    assert all(0 <= index < 1 << 32 for index in parse_changes(data))
