"""DNS messages: from the bytes of a query to the bytes of an answer that fits. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable

from dnslib import CLASS, EDNS0, OPCODE, QTYPE, RCODE, RR, DNSError, DNSHeader, DNSRecord

from ktnet.lab.dns.zone import Answer

HEADER_SIZE = 12
PLAIN_UDP_SIZE = 512
"""What an answer over UDP may have unless the query says more (RFC 1035 section 4.2.1)."""
LARGEST = 65535

Resolve = Callable[[str, int, bool], Answer]
"""From a name (lower case, no last dot), a type and the DO bit (RFC 3225) to an answer."""


def build_response(query: bytes, resolve: Resolve, *, udp: bool, recursive: bool) -> bytes | None:
    """The answer to a query; None for what deserves none (no header, or itself an answer).

    `recursive` sets RA (recursion available). A query that is no valid message is answered with
    FORMERR, another opcode than QUERY with NOTIMP (RFC 1035 section 4.1.1).
    """
    if len(query) < HEADER_SIZE:
        return None
    number, flags, questions = struct.unpack_from("!HHH", query)
    if flags & 0x8000:
        return None
    opcode = flags >> 11 & 0xF
    if opcode != OPCODE.QUERY:
        return _bare(number, opcode, RCODE.NOTIMP, recursion_desired=False)
    request = _parse(query) if questions == 1 else None
    if request is None:
        return _bare(number, opcode, RCODE.FORMERR, recursion_desired=bool(flags & 0x100))
    question = request.q
    asked = next((each for each in request.ar if each.rtype == QTYPE.OPT), None)
    if question.qclass == CLASS.IN:
        name = str(question.qname).rstrip(".").lower()
        answer = resolve(name, question.qtype, asked is not None and bool(asked.edns_do))
    else:
        answer = Answer(rcode=RCODE.SERVFAIL, authoritative=False)
    header = DNSHeader(
        id=number,
        qr=1,
        aa=int(answer.authoritative),
        rd=request.header.rd,
        ra=int(recursive),
        rcode=answer.rcode,
    )
    limit = max(PLAIN_UDP_SIZE, asked.edns_len if asked is not None else 0) if udp else LARGEST
    return _pack_to_fit(DNSRecord(header, q=question), answer, asked, limit)


def _parse(query: bytes) -> DNSRecord | None:
    try:
        request = DNSRecord.parse(query)
        str(request.q.qname)
    except (DNSError, ValueError, LookupError, struct.error):
        return None
    return request


def _bare(number: int, opcode: int, rcode: int, *, recursion_desired: bool) -> bytes:
    header = DNSHeader(id=number, qr=1, aa=0, rd=int(recursion_desired), ra=0, rcode=rcode)
    header.opcode = opcode
    return bytes(DNSRecord(header).pack())


def _pack_to_fit(response: DNSRecord, answer: Answer, asked: RR | None, limit: int) -> bytes:
    """Leaves out records from the end until it fits: additional ones first (RFC 2181 section 9)."""
    options = [] if asked is None else [_echo(asked)]
    response.rr = list(answer.records)
    response.auth = list(answer.authority)
    response.ar = [*answer.additional, *options]
    packed = bytes(response.pack())
    if len(packed) <= limit:
        return packed
    response.header.tc = 1
    response.ar = options
    kept = len(answer.records)
    packed = bytes(response.pack())
    while len(packed) > limit and (kept or response.auth):
        response.auth = []
        excess = len(packed) - limit
        # The smallest record there is, an A behind a compressed name, takes 16 bytes.
        kept = max(0, kept - max(1, excess // 64))
        response.rr = answer.records[:kept]
        packed = bytes(response.pack())
    return packed


def _echo(asked: RR) -> RR:
    """The OPT record of the answer: the asker's own size and DO bit, no options (RFC 6891)."""
    return EDNS0(udp_len=asked.edns_len, flags="do" if asked.edns_do else "")
