"""IPv4 headers (RFC 791)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ktnet.errors import RemoteProtocolError
from ktnet.wire.checksum import internet_checksum

PROTOCOL_ICMP = 1
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17

HEADER_BYTES = 20
"""Without options: we never send any."""

DEFAULT_TTL = 64
"""RFC 1700, and what Linux uses."""

_FIXED = struct.Struct("!BBHHHBBH4s4s")
_DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS_AND_OFFSET = 0x3FFF


class Ipv4Packet(NamedTuple):
    """An IPv4 packet; addresses are 4 bytes, the rest are views of the given buffer."""

    source: bytes
    destination: bytes
    protocol: int
    payload: memoryview
    whole: memoryview


def parse_ipv4(packet: memoryview) -> Ipv4Packet:
    """The packet at the start of `packet`; options are skipped, padding behind it is left out.

    The header's checksum isn't verified: the kernel that hands the packet over has made or
    verified it. Raises RemoteProtocolError for what isn't a whole IPv4 packet, fragments included.
    """
    if len(packet) < HEADER_BYTES:
        raise RemoteProtocolError(f"an IPv4 packet of {len(packet)} bytes")
    (version_and_length, _, total_bytes, _, fragment, _, protocol, _, source, destination) = (
        _FIXED.unpack_from(packet)
    )
    if version_and_length >> 4 != 4:
        raise RemoteProtocolError(f"IP version {version_and_length >> 4}, not 4")
    header_bytes = (version_and_length & 0xF) * 4
    if not HEADER_BYTES <= header_bytes <= total_bytes <= len(packet):
        raise RemoteProtocolError(
            f"an IPv4 packet of {len(packet)} bytes says {header_bytes} of {total_bytes}"
        )
    if fragment & MORE_FRAGMENTS_AND_OFFSET:
        raise RemoteProtocolError("an IPv4 fragment")
    payload, whole = packet[header_bytes:total_bytes], packet[:total_bytes]
    return Ipv4Packet(source, destination, protocol, payload, whole)


def build_ipv4_header(
    source: bytes, destination: bytes, protocol: int, payload_bytes: int
) -> bytes:
    """The header of a packet with `payload_bytes` of payload, its checksum included.

    Identification is 0, as RFC 6864 section 4.1 allows with "don't fragment".
    """
    without_checksum = _FIXED.pack(
        0x45,
        0,
        HEADER_BYTES + payload_bytes,
        0,
        _DONT_FRAGMENT,
        DEFAULT_TTL,
        protocol,
        0,
        source,
        destination,
    )
    checksum = internet_checksum(without_checksum)
    return without_checksum[:10] + checksum.to_bytes(2, "big") + without_checksum[12:]


def build_pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """What TCP's and UDP's checksum covers besides their own `length` bytes (RFC 9293 3.1)."""
    return source + destination + struct.pack("!HH", protocol, length)


def format_ipv4(address: bytes) -> str:
    """Dotted decimal."""
    return f"{address[0]}.{address[1]}.{address[2]}.{address[3]}"


def is_unicast(address: bytes) -> bool:
    """Whether it can be one host's: not 0/8, loopback, multicast, reserved or broadcast."""
    return 0 < address[0] < 224 and address[0] != 127
