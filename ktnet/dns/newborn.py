"""A Service made a moment ago, whose name the cluster's resolver still denies. Pure.

CoreDNS gives a negative answer again for up to 30 s, also to who asks for the Service that was
made meanwhile. Two ways lead past it: a Service's addresses are known to who watches it; and for
all else, CoreDNS's cache keeps answers to queries with the DO bit apart from those without
(https://github.com/coredns/coredns/tree/master/plugin/cache), so the same question with it is new.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from ktnet.dns.edns import DO, build_opt, parse_extended
from ktnet.dns.messages import AA, CD, HEADER, QR, RD, Query, build_question

A, AAAA = 1, 28
_IN = 1

_OWN_SIZE = 1232
_OWN_TTL_S = 5
"""Our word stands in for the cluster's for as short as that, then it is asked again."""

_RECORD = struct.Struct("!HHHIH")
_QUESTION_NAME = 0xC000 | HEADER.size


def build_known_addresses(
    query: Query, addresses: Iterable[IPv4Address | IPv6Address]
) -> bytes | None:
    """The answer to a query for a Service's addresses, from what is known of it.

    Without one of the asked family it is empty (NODATA). None for other types: of ports, and of
    what is behind, less is known than the cluster will say.
    """
    if query.qclass != _IN or query.qtype not in {A, AAAA}:
        return None
    wanted = 4 if query.qtype == A else 6
    records = [
        _RECORD.pack(_QUESTION_NAME, query.qtype, _IN, _OWN_TTL_S, len(address.packed))
        + address.packed
        for address in addresses
        if address.version == wanted
    ]
    opt = build_own_opt(query)
    flags = QR | AA | query.flags & (RD | CD)
    header = HEADER.pack(query.id, flags, 1, len(records), 0, 1 if opt else 0)
    return header + query.wire[HEADER.size : query.question_end] + b"".join(records) + opt


def build_apart(query: Query) -> Query | None:
    """The same question in the other half of CoreDNS's cache; None where it asks there already."""
    if parse_extended(query.opt) & DO:
        return None
    return build_question(query, query.name, build_opt(_OWN_SIZE, DO))


def build_own_opt(query: Query) -> bytes:
    """The OPT record for our answer to the query; b"" where the asker knows none."""
    return build_opt(_OWN_SIZE, parse_extended(query.opt) & DO) if query.opt else b""
