"""The packet that nearly all are, read in one go: a TCP segment of a connection that is open.

The layers' own parsers (`ktnet.wire.vnet`, `ipv4`, `tcp`) say the same of it, and cost several
times as much, for each 64 KiB of an upload and each acknowledgement of a download. Kernels, too,
look for this one first ("header prediction", Van Jacobson's in 4.3BSD-Reno).
"""

from __future__ import annotations

import struct

from ktnet.wire.ipv4 import HEADER_BYTES as IPV4_BYTES
from ktnet.wire.ipv4 import MORE_FRAGMENTS_AND_OFFSET, PROTOCOL_TCP
from ktnet.wire.tcp import ACK, RST, SYN, Segment
from ktnet.wire.tcp import HEADER_BYTES as TCP_BYTES
from ktnet.wire.vnet import TRUSTED_FLAGS, VNET_HEADER_BYTES

FourTuple = tuple[bytes, int, bytes, int]
"""Source address and port, destination address and port."""

_HEADERS = struct.Struct("!B9xBxHxxHxBxx4s4sHHIIBBH4x")  # vnet, IPv4, TCP
_HEADERS_BYTES = VNET_HEADER_BYTES + IPV4_BYTES + TCP_BYTES
_WITHOUT_OPTIONS = 0x45  # version 4, five words


def parse_plain_segment(frame: memoryview) -> tuple[FourTuple, Segment] | None:
    """The segment in a frame from the device; None: somebody else is to have a look at it.

    That is a whole packet without IPv4 options, whose checksum needs no verifying, with ACK and
    neither SYN nor RST.
    """
    if len(frame) < _HEADERS_BYTES:
        return None
    (
        trust,
        version_and_length,
        total_bytes,
        fragment,
        protocol,
        source,
        destination,
        source_port,
        destination_port,
        seq,
        ack,
        offset,
        flags,
        window,
    ) = _HEADERS.unpack_from(frame)
    payload_start = VNET_HEADER_BYTES + IPV4_BYTES + (offset >> 4) * 4
    frame_end = VNET_HEADER_BYTES + total_bytes
    if (
        version_and_length != _WITHOUT_OPTIONS
        or protocol != PROTOCOL_TCP
        or flags & (ACK | SYN | RST) != ACK
        or fragment & MORE_FRAGMENTS_AND_OFFSET
        or not trust & TRUSTED_FLAGS
        or not _HEADERS_BYTES <= payload_start <= frame_end <= len(frame)
    ):
        return None
    options = frame[_HEADERS_BYTES:payload_start]
    payload = frame[payload_start:frame_end]
    return (source, source_port, destination, destination_port), Segment(
        source_port, destination_port, seq, ack, flags, window, options, payload
    )
