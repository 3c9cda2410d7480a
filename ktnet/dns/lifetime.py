"""How long an answer may be given again, and what its TTLs are by then. Pure."""

from __future__ import annotations

import struct

from ktnet.dns.edns import parse_extended
from ktnet.dns.messages import OPT, Answer

NOERROR, NXDOMAIN = 0, 3
_SOA = 6
_SOA_NUMBERS_BYTES = 20
"""Serial, refresh, retry, expire, minimum: behind the two names (RFC 1035 section 3.3.13)."""
_LARGEST_TTL_S = 2**31 - 1
"""What is above it counts as 0 (RFC 2181 section 8)."""


def parse_lifetime_s(answer: Answer, qtype: int) -> int:
    """Seconds for which an answer may be kept; 0 where it may not be.

    The least TTL in it; where there is nothing of the asked type, at most the zone's negative TTL,
    and without a SOA record nothing (RFC 2308 section 5). What failed or was cut off isn't kept.
    """
    if answer.truncated or answer.rcode not in {NOERROR, NXDOMAIN}:
        return 0
    ttls = []
    positive = negative = False
    for record in answer.records:
        if record.rtype == OPT:
            if parse_extended(answer.wire[record.start : record.end]) >> 24:
                return 0  # the upper bits of another response code
            continue
        ttl_s = _ttl_of(answer.wire, record.data_start)
        ttls.append(ttl_s)
        if record.section == 1:
            positive = positive or record.rtype == qtype
        elif record.section == 2 and record.rtype == _SOA:
            if record.end - record.data_start < _SOA_NUMBERS_BYTES:
                return 0
            (minimum_s,) = struct.unpack_from("!I", answer.wire, record.end - 4)
            ttls.append(minimum_s if minimum_s <= _LARGEST_TTL_S else 0)
            negative = True
    is_known = (positive and answer.rcode == NOERROR) or negative
    return min(ttls) if is_known and ttls else 0


def build_aged(answer: Answer, age_s: int) -> bytes:
    """The answer's message with all TTLs counted down by `age_s`."""
    if age_s <= 0:
        return answer.wire
    wire = bytearray(answer.wire)
    for record in answer.records:
        if record.rtype != OPT:
            left_s = max(0, _ttl_of(wire, record.data_start) - age_s)
            struct.pack_into("!I", wire, record.data_start - 6, left_s)
    return bytes(wire)


def build_capped(answer: Answer, most_s: int) -> bytes:
    """The answer's message with no TTL above `most_s`, and none above 0 where nothing is found."""
    found = any(record.section == 1 for record in answer.records)
    limit_s = most_s if found else 0
    wire = bytearray(answer.wire)
    for record in answer.records:
        if record.rtype != OPT:
            left_s = min(limit_s, _ttl_of(wire, record.data_start))
            struct.pack_into("!I", wire, record.data_start - 6, left_s)
    return bytes(wire)


def _ttl_of(wire: bytes | bytearray, data_start: int) -> int:
    ttl_s: int = struct.unpack_from("!I", wire, data_start - 6)[0]
    return ttl_s if ttl_s <= _LARGEST_TTL_S else 0
