"""An Ethernet frame behind a virtio_net_hdr, as a TAP device with IFF_VNET_HDR gives and takes it.

One frame may be many packets: TCP that the kernel hasn't cut into segments yet (GSO). A link loses
packets, so what is left of such a frame are parts of it, themselves fit to be cut up later.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ktnet.errors import RemoteProtocolError
from ktnet.wire.checksum import fold, internet_checksum, ones_complement_sum
from ktnet.wire.ipv4 import PROTOCOL_TCP, build_pseudo_header
from ktnet.wire.tcp import CHECKSUM_OFFSET, FIN, PSH
from ktnet.wire.vnet import (
    FLAG_NEEDS_CHECKSUM,
    GSO_NONE,
    GSO_TCP_IPV4,
    VNET_HEADER,
    VNET_HEADER_BYTES,
    parse_vnet_header,
)

ETHERNET_BYTES = 14
"""Destination, source, EtherType (IEEE 802.3)."""
_TYPE_AT = VNET_HEADER_BYTES + 12
_IP_TYPES = (b"\x08\x00", b"\x86\xdd")
_IP_AT = VNET_HEADER_BYTES + ETHERNET_BYTES

CWR = 0x80
"""TCP's "congestion window reduced" (RFC 3168), said once, with the first segment."""


class Shape(NamedTuple):
    """How a frame looks on a wire, cut into packets."""

    packets: int
    header_bytes: int
    """Of each packet: Ethernet, IP and TCP; of a frame that is one packet, all of it."""
    segment_bytes: int
    """TCP payload of each packet but the last; 0 where the frame is one packet."""
    payload_bytes: int
    """Of all packets together."""
    may_be_lost: bool
    """Not what finds out who has which address: without it nothing is sent that could be lost."""

    def wire_bytes(self, start: int, end: int) -> int:
        """Of the packets from `start` up to `end`."""
        payload_bytes = min(end * self.segment_bytes, self.payload_bytes)
        return (end - start) * self.header_bytes + payload_bytes - start * self.segment_bytes


def read_shape(frame: bytes) -> Shape:
    """Raises RemoteProtocolError for what no device gives."""
    header = parse_vnet_header(frame)
    may_be_lost = frame[_TYPE_AT : _TYPE_AT + 2] in _IP_TYPES
    whole_bytes = len(frame) - VNET_HEADER_BYTES
    if header.gso_type == GSO_NONE or not header.gso_size:
        return Shape(1, whole_bytes, 0, 0, may_be_lost)
    if header.gso_type != GSO_TCP_IPV4:
        raise RemoteProtocolError(f"a frame of GSO type {header.gso_type}, which nobody asked for")
    tcp_at = VNET_HEADER_BYTES + header.checksum_start
    if len(frame) < tcp_at + 20:
        raise RemoteProtocolError(f"a frame of {len(frame)} bytes that ends before its TCP header")
    header_bytes = header.checksum_start + (frame[tcp_at + 12] >> 4) * 4
    payload_bytes = whole_bytes - header_bytes
    packets = max(1, -(-payload_bytes // header.gso_size))
    return Shape(packets, header_bytes, header.gso_size, payload_bytes, may_be_lost)


def cut(frame: bytes, shape: Shape, start: int, end: int) -> bytes:
    """The frame with only the packets from `start` up to `end` of it."""
    if start == 0 and end == shape.packets:
        return frame
    vnet = parse_vnet_header(frame)
    payload_at = VNET_HEADER_BYTES + shape.header_bytes
    payload = frame[payload_at:][start * shape.segment_bytes : end * shape.segment_bytes]
    head = bytearray(frame[:payload_at])
    many = end - start > 1
    VNET_HEADER.pack_into(
        head,
        0,
        FLAG_NEEDS_CHECKSUM,
        GSO_TCP_IPV4 if many else GSO_NONE,
        shape.header_bytes,
        vnet.gso_size if many else 0,
        vnet.checksum_start,
        vnet.checksum_offset,
    )
    tcp_at = VNET_HEADER_BYTES + vnet.checksum_start
    _put_ip(head, tcp_at, len(payload), start)
    _put_tcp(head, tcp_at, len(payload), shape, start, end)
    return bytes(head) + payload


def _put_ip(head: bytearray, tcp_at: int, payload_bytes: int, start: int) -> None:
    """Total length, identification, which counts up by packet, and checksum (RFC 791)."""
    (identification,) = struct.unpack_from("!H", head, _IP_AT + 4)
    length = len(head) - _IP_AT + payload_bytes
    struct.pack_into("!HH", head, _IP_AT + 2, length, (identification + start) & 0xFFFF)
    struct.pack_into("!H", head, _IP_AT + 10, 0)
    struct.pack_into("!H", head, _IP_AT + 10, internet_checksum(head[_IP_AT:tcp_at]))


def _put_tcp(
    head: bytearray, tcp_at: int, payload_bytes: int, shape: Shape, start: int, end: int
) -> None:
    """Sequence number, flags of the first and of the last packet, and the checksum's first half."""
    (seq,) = struct.unpack_from("!I", head, tcp_at + 4)
    struct.pack_into("!I", head, tcp_at + 4, (seq + start * shape.segment_bytes) & 0xFFFFFFFF)
    if start:
        head[tcp_at + 13] &= ~CWR & 0xFF
    if end < shape.packets:
        head[tcp_at + 13] &= ~(FIN | PSH) & 0xFF
    source, destination = bytes(head[_IP_AT + 12 :][:4]), bytes(head[_IP_AT + 16 :][:4])
    length = len(head) - tcp_at + payload_bytes
    pseudo_header = build_pseudo_header(source, destination, PROTOCOL_TCP, length)
    # Of the pseudo header only, not inverted: who sends it on completes it.
    struct.pack_into("!H", head, tcp_at + CHECKSUM_OFFSET, fold(ones_complement_sum(pseudo_header)))
