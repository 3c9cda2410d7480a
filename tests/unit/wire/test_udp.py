"""UDP datagrams, with scapy as the oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from ktnet.errors import RemoteProtocolError
from ktnet.wire.ipv4 import PROTOCOL_UDP, build_ipv4_header, format_ipv4
from ktnet.wire.udp import build_udp, parse_udp

ADDRESS = st.binary(min_size=4, max_size=4)
PORT = st.integers(0, 0xFFFF)


@given(ADDRESS, PORT, ADDRESS, PORT, st.binary(max_size=2000))
def test_what_we_build_is_right_to_others_and_to_us(source, source_port, target, port, payload):
    built = build_udp(source, source_port, target, port, payload)
    packet = build_ipv4_header(source, target, PROTOCOL_UDP, len(built)) + built
    theirs = IP(src=format_ipv4(source), dst=format_ipv4(target), id=0, flags="DF")
    theirs /= UDP(sport=source_port, dport=port) / payload
    assert packet == bytes(theirs)
    assert parse_udp(memoryview(built)) == (source_port, port, payload)


@given(st.binary(max_size=40))
def test_garbage_is_told_or_parsed(data):
    try:
        found = parse_udp(memoryview(data))
    except RemoteProtocolError:
        return
    assert len(found.payload) <= len(data) - 8


@pytest.mark.parametrize("length", [0, 7, 13])
def test_a_length_that_can_not_be_is_refused(length):
    data = b"\0\1\0\2" + length.to_bytes(2, "big") + b"\0\0" + b"four"
    with pytest.raises(RemoteProtocolError):
        parse_udp(memoryview(data))
