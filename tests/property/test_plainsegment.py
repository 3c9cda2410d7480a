"""The packet that is read in one go is what the layers' own parsers say that it is."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from scapy.compat import raw
from scapy.layers.inet import IP, TCP

from ktnet.errors import RemoteProtocolError
from ktnet.wire.ipv4 import PROTOCOL_TCP, parse_ipv4
from ktnet.wire.plainsegment import parse_plain_segment
from ktnet.wire.tcp import ACK, RST, SYN, parse_tcp
from ktnet.wire.vnet import VNET_HEADER_BYTES, parse_vnet_header

packets = st.builds(
    lambda flags, options, data, ip_options, padding: (
        raw(
            IP(src="198.18.0.1", dst="10.96.0.1", options=ip_options)
            / TCP(sport=40000, dport=80, flags=flags, seq=7, ack=9, window=5, options=options)
            / data
        )
        + padding
    ),
    st.sampled_from(["A", "PA", "FA", "FPA", "S", "SA", "R", "RA", "P"]),
    st.sampled_from(
        [[], [("Timestamp", (1, 2))], [("NOP", None), ("NOP", None), ("SAck", (1, 9))]]
    ),
    st.binary(max_size=40),
    st.sampled_from([b"", b"\x01\x01\x01\x00"]),
    st.sampled_from([b"", b"padding"]),
)


@st.composite
def frames(draw: st.DrawFn) -> memoryview:
    """Packets with a few bytes of their headers changed, or cut short."""
    packet = bytearray(draw(packets))
    for _ in range(draw(st.integers(0, 2))):
        packet[draw(st.integers(0, min(len(packet), 48) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        packet = packet[: draw(st.integers(0, len(packet)))]
    flags = draw(st.sampled_from([0, 1, 1, 1, 2]))
    return memoryview(struct.pack("B9x", flags) + bytes(packet))


@given(frame=frames())
def test_both_ways_of_reading_agree(frame):
    plain = parse_plain_segment(frame)
    try:
        vnet = parse_vnet_header(frame)
        packet = parse_ipv4(frame[VNET_HEADER_BYTES:])
        segment = parse_tcp(packet.payload)
    except RemoteProtocolError:
        assert plain is None
        return
    has_ip_options = len(packet.whole) - len(packet.payload) > 20
    is_plain = (
        packet.protocol == PROTOCOL_TCP
        and vnet.checksum_is_trusted
        and not has_ip_options
        and segment.flags & (ACK | SYN | RST) == ACK
    )
    if not is_plain:
        assert plain is None
        return
    ends = (packet.source, segment.source_port, packet.destination, segment.destination_port)
    assert plain == (ends, segment)


def test_an_upload_and_an_acknowledgement_are_plain():
    for data in (b"", bytes(1000)):
        packet = raw(IP(src="198.18.0.1", dst="10.96.0.1") / TCP(flags="A", seq=1, ack=2) / data)
        plain = parse_plain_segment(memoryview(struct.pack("B9x", 1) + packet))
        assert plain is not None
        assert plain[1].payload == data
