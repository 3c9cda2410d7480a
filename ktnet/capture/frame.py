"""Frames for the device: what goes before a TCP payload, and whole ICMP packets.

Checksums of TCP are never computed here. The header says how far they are done (NEEDS_CSUM), and
the kernel completes them where a packet leaves the machine; a payload larger than the MSS goes as
one super-packet, which the kernel cuts up where it has to (GSO).
"""

from __future__ import annotations

import struct

from ktnet.capture.commands import Send
from ktnet.wire.checksum import fold, ones_complement_sum
from ktnet.wire.ipv4 import (
    HEADER_BYTES as IPV4_BYTES,
)
from ktnet.wire.ipv4 import (
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    build_ipv4_header,
    build_pseudo_header,
)
from ktnet.wire.tcp import CHECKSUM_OFFSET, build_tcp_header
from ktnet.wire.tcp import HEADER_BYTES as TCP_BYTES
from ktnet.wire.vnet import (
    FLAG_NEEDS_CHECKSUM,
    GSO_NONE,
    GSO_TCP_IPV4,
    PLAIN_VNET_HEADER,
    VNET_HEADER,
)

Endpoint = tuple[bytes, int]
"""Address (4 bytes) and port."""


class TcpFramer:
    """Builds the headers of one connection's packets to the application."""

    __slots__ = ("_ipv4", "_ipv4_sum", "_mss", "_ports", "_pseudo_sum")

    def __init__(self, source: Endpoint, destination: Endpoint, mss: int) -> None:
        """`source` is the address that the application connected to; `mss` in bytes."""
        self._ports = (source[1], destination[1])
        self._mss = mss
        self._ipv4 = build_ipv4_header(source[0], destination[0], PROTOCOL_TCP, 0)
        without_length = self._ipv4[:2] + b"\0\0" + self._ipv4[4:10] + b"\0\0" + self._ipv4[12:]
        self._ipv4_sum = ones_complement_sum(without_length)
        pseudo_header = build_pseudo_header(source[0], destination[0], PROTOCOL_TCP, 0)
        self._pseudo_sum = ones_complement_sum(pseudo_header)

    def build_headers(self, send: Send) -> bytes:
        """The vnet, IPv4 and TCP headers that go before the payload of `send`."""
        tcp_bytes = TCP_BYTES + len(send.options)
        segment_bytes = tcp_bytes + send.payload_bytes
        total_bytes = IPV4_BYTES + segment_bytes
        is_super_packet = send.payload_bytes > self._mss
        vnet = VNET_HEADER.pack(
            FLAG_NEEDS_CHECKSUM,
            GSO_TCP_IPV4 if is_super_packet else GSO_NONE,
            IPV4_BYTES + tcp_bytes,
            self._mss if is_super_packet else 0,
            IPV4_BYTES,
            CHECKSUM_OFFSET,
        )
        ipv4 = self._ipv4
        ipv4_checksum = 0xFFFF - fold(self._ipv4_sum + total_bytes)
        tcp = build_tcp_header(
            *self._ports,
            seq=send.seq,
            ack=send.ack,
            flags=send.flags,
            window=send.window,
            checksum=fold(self._pseudo_sum + segment_bytes),
            options=send.options,
        )
        lengths = struct.pack("!H6sH", total_bytes, ipv4[4:10], ipv4_checksum)
        return b"".join((vnet, ipv4[:2], lengths, ipv4[12:], tcp))


def build_icmp_frame(source: bytes, destination: bytes, message: bytes) -> bytes:
    """A whole frame with an ICMP message."""
    ipv4 = build_ipv4_header(source, destination, PROTOCOL_ICMP, len(message))
    return PLAIN_VNET_HEADER + ipv4 + message
