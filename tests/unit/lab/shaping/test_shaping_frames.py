"""Parts of super-packets, with scapy as the one who knows what the kernel would cut them into."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.compat import raw
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ktnet.errors import RemoteProtocolError
from ktnet.lab.shaping.conditions import Conditions
from ktnet.lab.shaping.direction import Direction
from ktnet.lab.shaping.frames import cut, read_shape
from ktnet.wire.checksum import fold, internet_checksum, ones_complement_sum
from ktnet.wire.ipv4 import build_pseudo_header
from ktnet.wire.vnet import (
    FLAG_NEEDS_CHECKSUM,
    GSO_NONE,
    GSO_TCP_IPV4,
    VNET_HEADER,
    VNET_HEADER_BYTES,
    parse_vnet_header,
)

SOURCE, TARGET = "192.168.64.10", "192.168.64.11"
OPTIONS = [("NOP", None), ("NOP", None), ("Timestamp", (7, 9))]
HEADERS_BYTES = 14 + 20 + 32
TCP_AT = VNET_HEADER_BYTES + 34
MSS = 1448
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def build_super_frame(payload: bytes, flags: str = "FPAC", seq: int = 0xFFFFFF00) -> bytes:
    """As the kernel gives it: the TCP checksum is the pseudo header's sum."""
    segment = TCP(sport=5, dport=6, seq=seq, ack=3, flags=flags, window=77, options=OPTIONS)
    packet = bytearray(raw(ETHER / IP(src=SOURCE, dst=TARGET, id=0xFFFE) / segment / payload))
    put_pseudo_sum(packet)
    vnet = VNET_HEADER.pack(FLAG_NEEDS_CHECKSUM, GSO_TCP_IPV4, HEADERS_BYTES, MSS, 34, 16)
    return vnet + bytes(packet)


def put_pseudo_sum(packet: bytearray) -> None:
    pseudo = build_pseudo_header(bytes(packet[26:30]), bytes(packet[30:34]), 6, len(packet) - 34)
    packet[50:52] = fold(ones_complement_sum(pseudo)).to_bytes(2)


def cut_as_the_kernel(frame: bytes) -> list[bytes]:
    """The packets of a frame, complete with checksums (tcp_gso_segment of net/ipv4)."""
    vnet = parse_vnet_header(frame)
    packet = Ether(frame[VNET_HEADER_BYTES:])
    payload = bytes(packet[TCP].payload)
    pieces = [payload]
    if vnet.gso_type:
        pieces = [payload[at : at + vnet.gso_size] for at in range(0, len(payload), vnet.gso_size)]
    packets = []
    for number, piece in enumerate(pieces):
        flags = int(packet[TCP].flags)
        if number:
            flags &= ~0x80
        if number < len(pieces) - 1:
            flags &= ~(0x01 | 0x08)
        ip = IP(src=SOURCE, dst=TARGET, id=(packet[IP].id + number) & 0xFFFF)
        segment = TCP(
            sport=5,
            dport=6,
            seq=(packet[TCP].seq + number * vnet.gso_size) & 0xFFFFFFFF,
            ack=3,
            flags=flags,
            window=77,
            options=OPTIONS,
        )
        packets.append(raw(ETHER / ip / segment / piece))
    return packets


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 8 * MSS), data=st.data())
def test_parts_are_the_packets_that_the_whole_would_have_become(
    size: int, data: st.DataObject
) -> None:
    frame = build_super_frame(random.Random(size).randbytes(size))
    whole, shape = cut_as_the_kernel(frame), read_shape(frame)
    assert shape.packets == len(whole)
    assert shape.wire_bytes(0, shape.packets) == sum(map(len, whole))
    start = data.draw(st.integers(0, shape.packets - 1))
    end = data.draw(st.integers(start + 1, shape.packets))
    part = cut(frame, shape, start, end)
    assert cut_as_the_kernel(part) == whole[start:end]
    assert shape.wire_bytes(start, end) == sum(map(len, whole[start:end]))


def test_a_part_is_ready_for_the_kernel() -> None:
    frame = build_super_frame(bytes(10 * MSS + 5))
    shape = read_shape(frame)
    for start, end, kind in ((2, 3, GSO_NONE), (2, 9, GSO_TCP_IPV4), (10, 11, GSO_NONE)):
        part = bytearray(cut(frame, shape, start, end))
        vnet = parse_vnet_header(part)
        assert (vnet.flags, vnet.gso_type) == (FLAG_NEEDS_CHECKSUM, kind)
        assert (vnet.checksum_start, vnet.checksum_offset) == (34, 16)
        assert vnet.gso_size == (MSS if kind else 0)
        packet = part[VNET_HEADER_BYTES:]
        assert internet_checksum(packet[14:34]) == 0  # IP's own is right
        expected = bytearray(packet)
        put_pseudo_sum(expected)
        assert packet == expected


def test_a_frame_of_one_packet_stays_as_it_is() -> None:
    frame = bytes(VNET_HEADER_BYTES) + raw(ETHER / IP(src=SOURCE, dst=TARGET) / TCP() / b"x")
    shape = read_shape(frame)
    assert (shape.packets, shape.may_be_lost) == (1, True)
    assert shape.wire_bytes(0, 1) == len(frame) - VNET_HEADER_BYTES
    assert cut(frame, shape, 0, 1) is frame


def test_losses_hit_single_packets_of_a_super_frame() -> None:
    direction = Direction(Conditions(share=0.05, seed=3), "up")
    sent = 0
    for _ in range(40):
        frame = build_super_frame(bytes(40 * MSS))
        sent += 40
        direction.offer(frame, 0.0)
    parts = direction.take_due(0.0)
    assert len(parts) > 40
    assert sum(read_shape(part).packets for part in parts) == direction.passed
    assert direction.passed + direction.lost == sent
    assert 40 < direction.lost < 120


def test_the_queue_takes_what_it_has_room_for_of_a_super_frame() -> None:
    direction = Direction(Conditions(rate_mbit=8, queue_kib=15), "up")
    direction.offer(build_super_frame(bytes(40 * MSS)), 0.0)
    assert (direction.passed, direction.refused) == (10, 30)
    (part,) = direction.take_due(60.0)
    assert read_shape(part).packets == 10


@pytest.mark.parametrize("damage", ["kind", "short"])
def test_what_no_device_gives_is_declined(damage: str) -> None:
    frame = bytearray(build_super_frame(bytes(3 * MSS)))
    if damage == "kind":
        frame[1] = 5
    else:
        del frame[TCP_AT + 12 :]
    with pytest.raises(RemoteProtocolError):
        read_shape(bytes(frame))
