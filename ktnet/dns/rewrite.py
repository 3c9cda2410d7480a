"""The answer for a full name, told of the short name that was asked. Pure.

The question gets shorter, so every compressed name behind it would point to the wrong place: the
records are written anew, with all names in full but the asked one, which is always at offset 12.
"""

from __future__ import annotations

import struct

from ktnet.dns.messages import HEADER, OPT, Answer, Query, Record
from ktnet.dns.names import Name, build_wire_name, fold_case, read_wire_name
from ktnet.errors import RemoteProtocolError

_QUESTION_NAME = struct.pack("!H", 0xC000 | HEADER.size)
"""A pointer to the question's name."""

_LARGEST_MESSAGE = 65535

_NAMES_IN_DATA = {
    2: (0, 1),  # NS
    3: (0, 1),  # MD
    4: (0, 1),  # MF
    5: (0, 1),  # CNAME
    6: (0, 2),  # SOA
    7: (0, 1),  # MB
    8: (0, 1),  # MG
    9: (0, 1),  # MR
    12: (0, 1),  # PTR
    14: (0, 2),  # MINFO
    15: (2, 1),  # MX
    17: (0, 2),  # RP
    18: (2, 1),  # AFSDB
    21: (2, 1),  # RT
    33: (6, 1),  # SRV
    39: (0, 1),  # DNAME
}
"""Types whose data may hold compressed names (RFC 3597 section 4): octets in front, how many.
In all newer types, names are never compressed (the same section), so their data stays as it is."""


def build_restored_answer(
    answer: Answer, asked: Query, full: Name, *, opt: bytes | None = None
) -> bytes:
    """The answer to the query for `full` as an answer to the query that was `asked`.

    The question is that of `asked` octet by octet, and so is the owner of each record that was
    `full`'s; all else is as the server said, but for the OPT record where `opt` stands for it.
    Raises RemoteProtocolError where a name within the data is broken.
    """
    folded = fold_case(full)
    _, _, _, *counts = HEADER.unpack_from(answer.wire)
    parts = [asked.wire[HEADER.size : asked.question_end]]
    for record in answer.records:
        owner, fixed = read_wire_name(answer.wire, record.start)
        if record.rtype == OPT:
            kept = answer.wire[record.start : record.end] if opt is None else opt
            if not kept:
                counts[2] -= 1
            parts.append(kept)
            continue
        parts.append(_QUESTION_NAME if fold_case(owner) == folded else build_wire_name(owner))
        data = _uncompressed_data(answer.wire, record)
        parts.append(answer.wire[fixed : record.data_start - 2])
        parts.append(struct.pack("!H", len(data)) + data)
    body = b"".join(parts)
    if HEADER.size + len(body) > _LARGEST_MESSAGE:
        raise RemoteProtocolError("a DNS answer does not fit a message once names are in full")
    return HEADER.pack(asked.id, answer.flags, 1, *counts) + body


def _uncompressed_data(wire: bytes, record: Record) -> bytes:
    """A record's data with all names in it in full."""
    layout = _NAMES_IN_DATA.get(record.rtype)
    if layout is None or record.data_start == record.end:
        return wire[record.data_start : record.end]
    leading, names = layout
    position = record.data_start + leading
    parts = [wire[record.data_start : position]]
    for _ in range(names):
        name, position = read_wire_name(wire, position)
        parts.append(build_wire_name(name))
    if position > record.end:
        raise RemoteProtocolError("a name in a DNS record ends behind the record")
    parts.append(wire[position : record.end])
    return b"".join(parts)
