"""TCP headers and sequence numbers (RFC 9293 sections 3.1 and 3.4, RFC 7323, RFC 2018)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ktnet.errors import RemoteProtocolError
from ktnet.wire.checksum import fold, ones_complement_sum
from ktnet.wire.ipv4 import PROTOCOL_TCP, build_pseudo_header

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10

HEADER_BYTES = 20
"""Without options."""

CHECKSUM_OFFSET = 16
"""Of the checksum field from the start of the header."""

DEFAULT_MSS = 536
"""What a peer takes that announces nothing (RFC 9293 section 3.7.1)."""

LARGEST_WINDOW_SHIFT = 14
"""RFC 7323 section 2.3: a larger one counts as this."""

_FIXED = struct.Struct("!HHIIBBHHH")

_OPTION_END = 0
_OPTION_NOP = 1
_OPTION_MSS = 2
_OPTION_WINDOW_SCALE = 3
_OPTION_SACK_PERMITTED = 4
_OPTION_SACK = 5


class Segment(NamedTuple):
    """A TCP segment; options and payload are views of the given buffer."""

    source_port: int
    destination_port: int
    seq: int
    ack: int
    flags: int
    window: int
    """As in the header: not yet shifted by the window scale."""
    options: memoryview
    payload: memoryview


class SynOptions(NamedTuple):
    """What the options of a SYN say; None where it doesn't."""

    mss: int | None
    window_shift: int | None
    sack_permitted: bool = False


def parse_tcp(data: memoryview) -> Segment:
    """The segment that `data`, an IP packet's payload, is. The checksum isn't verified here."""
    if len(data) < HEADER_BYTES:
        raise RemoteProtocolError(f"a TCP segment of {len(data)} bytes")
    source_port, destination_port, seq, ack, offset, flags, window, _, _ = _FIXED.unpack_from(data)
    header_bytes = (offset >> 4) * 4
    if not HEADER_BYTES <= header_bytes <= len(data):
        raise RemoteProtocolError(f"a TCP header of {header_bytes} bytes in {len(data)}")
    return Segment(
        source_port,
        destination_port,
        seq,
        ack,
        flags,
        window,
        data[HEADER_BYTES:header_bytes],
        data[header_bytes:],
    )


def checksum_is_right(source: bytes, destination: bytes, data: memoryview) -> bool:
    """Whether the checksum of the TCP segment `data` between these addresses holds."""
    pseudo_header = build_pseudo_header(source, destination, PROTOCOL_TCP, len(data))
    return fold(ones_complement_sum(pseudo_header) + ones_complement_sum(data)) == 0xFFFF


def parse_syn_options(options: memoryview) -> SynOptions:
    """The options of a SYN segment; unknown ones are skipped, as RFC 9293 section 3.1 demands."""
    mss: int | None = None
    window_shift: int | None = None
    sack_permitted = False
    position = 0
    while position < len(options):
        kind = options[position]
        if kind == _OPTION_END:
            break
        if kind == _OPTION_NOP:
            position += 1
            continue
        length = options[position + 1] if position + 1 < len(options) else 0
        if length < 2 or position + length > len(options):
            raise RemoteProtocolError(f"TCP option {kind} with length {length}")
        value = options[position + 2 : position + length]
        if kind == _OPTION_MSS and length == 4:
            mss = int.from_bytes(value, "big")
        elif kind == _OPTION_WINDOW_SCALE and length == 3:
            window_shift = min(value[0], LARGEST_WINDOW_SHIFT)
        elif kind == _OPTION_SACK_PERMITTED and length == 2:
            sack_permitted = True
        position += length
    return SynOptions(mss, window_shift, sack_permitted)


def build_syn_options(options: SynOptions) -> bytes:
    """The options of a SYN or SYN-ACK, padded to whole words."""
    built = b""
    if options.mss is not None:
        built += struct.pack("!BBH", _OPTION_MSS, 4, options.mss)
    if options.window_shift is not None:
        shift = options.window_shift
        built += struct.pack("!BBBB", _OPTION_NOP, _OPTION_WINDOW_SCALE, 3, shift)
    if options.sack_permitted:
        built += struct.pack("!BBBB", _OPTION_NOP, _OPTION_NOP, _OPTION_SACK_PERMITTED, 2)
    return built


def build_sack_option(ranges: list[tuple[int, int]]) -> bytes:
    """The option that names what came ahead of missing bytes (RFC 2018 section 3), if anything.

    At most 4 ranges of sequence numbers: the first one, and the one behind the last.
    """
    if not ranges:
        return b""
    head = struct.pack("!BBBB", _OPTION_NOP, _OPTION_NOP, _OPTION_SACK, 2 + 8 * len(ranges))
    return head + b"".join(struct.pack("!II", first, behind) for first, behind in ranges)


def build_tcp_header(
    source_port: int,
    destination_port: int,
    *,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    checksum: int = 0,
    options: bytes = b"",
) -> bytes:
    """A header with whole-word `options`."""
    offset = (HEADER_BYTES + len(options)) << 2
    fixed = _FIXED.pack(source_port, destination_port, seq, ack, offset, flags, window, checksum, 0)
    return fixed + options


def sequence_add(seq: int, count: int) -> int:
    """The sequence number `count` bytes on, modulo 2**32."""
    return (seq + count) & 0xFFFFFFFF


def sequence_delta(later: int, earlier: int) -> int:
    """How far `later` is ahead of `earlier` on the circle of 2**32: -2**31 to 2**31 - 1."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def segment_length(segment: Segment) -> int:
    """Sequence numbers that it takes: its payload, one for SYN and one for FIN."""
    return len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
