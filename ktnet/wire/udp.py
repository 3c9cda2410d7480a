"""UDP datagrams (RFC 768) over IPv4."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ktnet.errors import RemoteProtocolError
from ktnet.wire.checksum import internet_checksum
from ktnet.wire.ipv4 import PROTOCOL_UDP, build_pseudo_header

HEADER_BYTES = 8
MAX_PAYLOAD_BYTES = 65507
"""What one IPv4 packet without options can hold."""

_HEADER = struct.Struct("!HHHH")


class Datagram(NamedTuple):
    """Ports, and a view of what was sent."""

    source_port: int
    destination_port: int
    payload: memoryview


def parse_udp(payload: memoryview) -> Datagram:
    """The datagram in a packet's payload; its checksum isn't looked at, since from a TUN it may not
    be made yet. Raises RemoteProtocolError for what isn't a whole one."""
    if len(payload) < HEADER_BYTES:
        raise RemoteProtocolError(f"a UDP datagram of {len(payload)} bytes")
    source, destination, length, _ = _HEADER.unpack_from(payload)
    if not HEADER_BYTES <= length <= len(payload):
        raise RemoteProtocolError(f"a UDP datagram of {len(payload)} bytes says {length}")
    return Datagram(source, destination, payload[HEADER_BYTES:length])


def build_udp(
    source: bytes, source_port: int, destination: bytes, destination_port: int, payload: bytes
) -> bytes:
    """A datagram with its checksum; addresses are 4 bytes."""
    length = HEADER_BYTES + len(payload)
    header = _HEADER.pack(source_port, destination_port, length, 0)
    pseudo = build_pseudo_header(source, destination, PROTOCOL_UDP, length)
    # A sum of 0 is sent as all ones: 0 says that there is none.
    checksum = internet_checksum(pseudo + header + payload) or 0xFFFF
    return header[:6] + checksum.to_bytes(2, "big") + payload
