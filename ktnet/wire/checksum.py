"""The Internet checksum (RFC 1071): what IPv4, ICMP, TCP and UDP put into their headers."""

from __future__ import annotations


def ones_complement_sum(data: bytes | bytearray | memoryview) -> int:
    """The 16-bit one's complement sum of `data`'s big-endian words, an odd last byte padded.

    The remainder by 65535 of the whole as one number is that sum, since 2**16 leaves 1. Only
    a sum of 65535 would come out as 0, which one's complement keeps for "all words are zero".
    """
    number = int.from_bytes(data, "big")
    if len(data) % 2:
        number <<= 8
    return number % 0xFFFF or (0xFFFF if number else 0)


def fold(total: int) -> int:
    """A sum of 16-bit words with its carries added back in (RFC 1071 section 1): 16 bits."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def internet_checksum(data: bytes | bytearray | memoryview) -> int:
    """What belongs into a checksum field that counts as zero in `data`."""
    return 0xFFFF - ones_complement_sum(data)
