"""ICMP (RFC 792): the errors that say why a packet was not carried."""

from __future__ import annotations

import enum
import struct

from ktnet.wire.checksum import internet_checksum

TYPE_ECHO_REQUEST = 8
TYPE_UNREACHABLE = 3

QUOTE_BYTES = 548
"""Of the packet that could not be carried: with both headers not over 576 bytes, which every
host takes (RFC 1812 section 4.3.2.3)."""

_HEADER = struct.Struct("!BBHI")


class Unreachable(enum.IntEnum):
    """Codes of "destination unreachable" (RFC 792, RFC 1812 section 5.2.7.1)."""

    NETWORK = 0
    HOST = 1
    PORT = 3
    PROHIBITED = 13
    """"Communication administratively prohibited": Linux makes EHOSTUNREACH of it, at once and
    also for UDP sockets that didn't ask for errors, provided they are connected."""


def build_unreachable(code: Unreachable, packet: bytes | memoryview) -> bytes:
    """The ICMP message that tells the sender of the IP packet `packet` why it was dropped."""
    quote = bytes(packet[:QUOTE_BYTES])
    checksum = internet_checksum(_HEADER.pack(TYPE_UNREACHABLE, code, 0, 0) + quote)
    return _HEADER.pack(TYPE_UNREACHABLE, code, checksum, 0) + quote
