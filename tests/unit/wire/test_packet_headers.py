"""Headers, with scapy as the one who knows how they look."""

from __future__ import annotations

import struct

import pytest
from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP

from ktnet.errors import RemoteProtocolError
from ktnet.wire.checksum import internet_checksum, ones_complement_sum
from ktnet.wire.icmp import Unreachable, build_unreachable
from ktnet.wire.ipv4 import (
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    build_ipv4_header,
    format_ipv4,
    is_unicast,
    parse_ipv4,
)
from ktnet.wire.tcp import (
    ACK,
    FIN,
    SYN,
    SynOptions,
    build_syn_options,
    build_tcp_header,
    checksum_is_right,
    parse_syn_options,
    parse_tcp,
    segment_length,
    sequence_add,
    sequence_delta,
)
from ktnet.wire.vnet import VNET_HEADER, parse_vnet_header

HERE, THERE = bytes([10, 96, 0, 1]), bytes([198, 18, 0, 1])


def test_checksum_of_the_example_in_rfc_1071():
    words = bytes.fromhex("0001f203f4f5f6f7")
    assert ones_complement_sum(words) == 0xDDF2
    assert internet_checksum(words) == 0x220D


@pytest.mark.parametrize(
    ("data", "total"),
    [
        (b"", 0),
        (b"\0\0", 0),
        (b"\xff\xff", 0xFFFF),
        (b"\xff\xff\xff\xff", 0xFFFF),
        (b"\xff\xfe\x00\x01", 0xFFFF),
        (b"\x12", 0x1200),
        (b"\xff\xff\x01", 0x0100),
    ],
)
def test_sums_at_the_edges(data, total):
    assert ones_complement_sum(data) == total


def test_parses_what_scapy_builds():
    options = [("MSS", 1460), ("NOP", None), ("WScale", 9), ("SAckOK", b""), ("EOL", None)]
    packet = raw(
        IP(src="198.18.0.1", dst="10.96.0.1", options=b"\x01\x01\x01\x00")
        / TCP(sport=40000, dport=80, seq=7, ack=9, flags="SF", window=100, options=options)
        / b"payload"
    )
    parsed = parse_ipv4(memoryview(packet + b"padding"))
    assert format_ipv4(parsed.source) == "198.18.0.1"
    assert format_ipv4(parsed.destination) == "10.96.0.1"
    assert parsed.protocol == PROTOCOL_TCP
    assert parsed.whole == packet
    assert checksum_is_right(parsed.source, parsed.destination, parsed.payload)
    segment = parse_tcp(parsed.payload)
    assert segment[:6] == (40000, 80, 7, 9, SYN | FIN, 100)
    assert segment.payload == b"payload"
    assert segment_length(segment) == 9
    assert parse_syn_options(segment.options) == SynOptions(1460, 9, sack_permitted=True)


def test_a_wrong_tcp_checksum_is_seen():
    packet = bytearray(raw(IP(src="198.18.0.1", dst="10.96.0.1") / TCP() / b"odd"))
    packet[-1] ^= 1
    parsed = parse_ipv4(memoryview(packet))
    assert not checksum_is_right(parsed.source, parsed.destination, parsed.payload)


def test_scapy_agrees_with_what_is_built():
    tcp = build_tcp_header(
        80,
        40000,
        seq=0xFFFFFFFF,
        ack=1,
        flags=SYN | ACK,
        window=0xFFFF,
        options=build_syn_options(SynOptions(65495, 7)),
    )
    built = build_ipv4_header(HERE, THERE, PROTOCOL_TCP, len(tcp)) + tcp
    packet = IP(built)
    assert packet.src == "10.96.0.1"
    assert packet.dst == "198.18.0.1"
    assert packet[TCP].options == [("MSS", 65495), ("NOP", None), ("WScale", 7)]
    assert packet[TCP].flags == "SA"
    given = packet.chksum
    del packet.chksum
    assert IP(raw(packet)).chksum == given


def test_scapy_agrees_with_icmp_errors():
    refused = raw(IP(src="198.18.0.1", dst="10.96.0.1") / UDP(sport=5, dport=6) / bytes(1000))
    message = build_unreachable(Unreachable.PROHIBITED, refused)
    packet = IP(build_ipv4_header(HERE, THERE, 1, len(message)) + message)
    assert len(packet) == 576
    assert (packet[ICMP].type, packet[ICMP].code) == (3, 13)
    given = packet[ICMP].chksum
    del packet[ICMP].chksum
    assert IP(raw(packet))[ICMP].chksum == given
    assert message[8:] == refused[:548]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 6},
        {"ihl": 4},
        {"ihl": 15},
        {"len": 19},
        {"len": 41},
        {"flags": "MF"},
        {"frag": 1},
    ],
)
def test_what_is_not_a_whole_ipv4_packet(change):
    packet = raw(IP(src="198.18.0.1", dst="10.96.0.1", **change) / TCP())
    with pytest.raises(RemoteProtocolError):
        parse_ipv4(memoryview(packet))


@pytest.mark.parametrize("length", [0, 1, 19])
def test_too_short(length):
    packet = memoryview(raw(IP() / TCP()))
    with pytest.raises(RemoteProtocolError):
        parse_ipv4(packet[:length])
    with pytest.raises(RemoteProtocolError):
        parse_tcp(packet[20:][:length])
    with pytest.raises(RemoteProtocolError):
        parse_vnet_header(packet[: length % 10])


@pytest.mark.parametrize("offset", [0, 4, 6, 15])
def test_tcp_header_lengths_that_cannot_be(offset):
    packet = bytearray(raw(TCP()))
    packet[12] = offset << 4
    with pytest.raises(RemoteProtocolError):
        parse_tcp(memoryview(packet))


@pytest.mark.parametrize("options", [b"\x02", b"\x02\x00", b"\x02\x01", b"\x02\x05\x00\x00"])
def test_options_that_do_not_fit(options):
    with pytest.raises(RemoteProtocolError):
        parse_syn_options(memoryview(options))


def test_options_of_unusual_length_count_as_unknown():
    options = b"\x03\x04\x07\x00" + b"\x02\x03\x05" + b"\xfe\x02"
    assert parse_syn_options(memoryview(options)) == SynOptions(None, None)
    assert parse_syn_options(memoryview(b"\x03\x03\xff")) == SynOptions(None, 14)


def test_vnet_header():
    assert parse_vnet_header(VNET_HEADER.pack(1, 1, 40, 1460, 20, 16) + b"packet") == (
        1,
        1,
        40,
        1460,
        20,
        16,
    )
    assert [
        parse_vnet_header(struct.pack("B9x", flags)).checksum_is_trusted for flags in range(5)
    ] == [False, True, True, True, False]


def test_sequence_numbers_go_round():
    assert sequence_add(0xFFFFFFFF, 2) == 1
    assert sequence_delta(1, 0xFFFFFFFF) == 2
    assert sequence_delta(0xFFFFFFFF, 1) == -2
    assert sequence_delta(5, 5) == 0
    assert sequence_delta(0x80000000, 0) == -0x80000000


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ((10, 0, 0, 1), True),
        ((223, 255, 255, 255), True),
        ((0, 0, 0, 0), False),
        ((127, 0, 0, 1), False),
        ((224, 0, 0, 251), False),
        ((255, 255, 255, 255), False),
    ],
)
def test_unicast(address, expected):
    assert is_unicast(bytes(address)) is expected


def test_udp_is_told_apart():
    packet = raw(IP(src="198.18.0.1", dst="10.96.0.1") / UDP())
    assert parse_ipv4(memoryview(packet)).protocol == PROTOCOL_UDP
