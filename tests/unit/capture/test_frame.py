"""Frames, with scapy as the one who knows how packets look."""

from __future__ import annotations

import pytest
from scapy.compat import raw
from scapy.layers.inet import IP, TCP

from ktnet.capture.commands import Send
from ktnet.capture.frame import TcpFramer, build_icmp_frame
from ktnet.wire.checksum import internet_checksum
from ktnet.wire.tcp import ACK, SYN, SynOptions, build_syn_options
from ktnet.wire.vnet import VNET_HEADER_BYTES, parse_vnet_header

HERE, THERE = (bytes([10, 96, 255, 254]), 65535), (bytes([198, 18, 0, 1]), 40001)


@pytest.mark.parametrize("length", [0, 1, 1460, 1461, 64240])
@pytest.mark.parametrize("options", [b"", build_syn_options(SynOptions(1460, 7, True))])
def test_the_kernel_can_complete_it(length, options):
    """Does with the header's help what the kernel does, and asks scapy whether it is right."""
    payload = (bytes(range(256)) * 251)[:length]
    send = Send(SYN | ACK, 0xFFFFFFFF, 0x80000000, 0xFFFF, (payload,), length, options)
    frame = TcpFramer(HERE, THERE, 1460).build_headers(send) + payload
    vnet = parse_vnet_header(frame)
    assert vnet.flags == 1
    assert vnet.header_length == 40 + len(options)
    assert (vnet.gso_type, vnet.gso_size) == ((1, 1460) if length > 1460 else (0, 0))
    packet = bytearray(frame[VNET_HEADER_BYTES:])
    field = vnet.checksum_start + vnet.checksum_offset
    packet[field : field + 2] = internet_checksum(packet[vnet.checksum_start :]).to_bytes(2, "big")
    parsed = IP(bytes(packet))
    given = parsed.chksum, parsed[TCP].chksum
    del parsed.chksum, parsed[TCP].chksum
    again = IP(raw(parsed))
    assert (again.chksum, again[TCP].chksum) == given
    assert (again.src, again.dst) == ("10.96.255.254", "198.18.0.1")
    assert (again[TCP].sport, again[TCP].dport) == (65535, 40001)
    assert (again[TCP].seq, again[TCP].ack) == (0xFFFFFFFF, 0x80000000)
    assert (again[TCP].flags, again[TCP].window) == ("SA", 0xFFFF)
    assert bytes(again[TCP].payload) == payload
    assert again.flags == "DF"


def test_icmp_goes_as_it_is():
    frame = build_icmp_frame(HERE[0], THERE[0], b"\x03\x0d\xfc\xf2\0\0\0\0")
    assert frame[:VNET_HEADER_BYTES] == bytes(VNET_HEADER_BYTES)
    packet = IP(frame[VNET_HEADER_BYTES:])
    assert (packet.src, packet.dst, packet.proto) == ("10.96.255.254", "198.18.0.1", 1)
    assert packet.len == 28
