"""DNS messages as the proxy needs them: parsed as far as it decides by them, else passed on. Pure.

A proxy should change as little as it can (RFC 5625 section 3), so messages stay bytes: what we
don't understand reaches the other side as it came. Only bounds and what has to match are read.
dnslib isn't used here: it refuses labels outside UTF-8 and records without data, and the pointers
that it writes past 16 KiB are wrong.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ktnet.dns.names import Name, build_wire_name, read_wire_name, skip_wire_name
from ktnet.errors import RemoteProtocolError
from ktnet.wire.dnsmessage import is_answer_to, parse_question

HEADER = struct.Struct("!6H")
"""Id, flags, and how many questions, answers, authorities and additional records."""
_RECORD = struct.Struct("!HHIH")
"""Type, class, TTL and length of the data, behind a record's name."""

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
"""Flags of the header (RFC 1035 section 4.1.1, RFC 4035 section 3)."""
_OPCODE = 0x7800
_RCODE = 0x000F

FORMERR, SERVFAIL, NOTIMP, REFUSED = 1, 2, 4, 5

OPT = 41
"""EDNS0's pseudo record (RFC 6891)."""

PLAIN_UDP_SIZE = 512
"""What every client takes over UDP without saying so (RFC 1035 section 2.3.4)."""
_LARGEST_UDP_SIZE = 65507
"""What fits an IPv4 packet. A client of this machine gets what it asks for: nothing on its way
to it has a small MTU."""
_OWN_UDP_SIZE = 1232
"""What we name as our own size in the answers that we make (DNS flag day 2020)."""
_EXTENDED_ERROR = 15
_NETWORK_ERROR = 23
"""Option and code of RFC 8914: tells in words why there is a SERVFAIL."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query with one question, as it came."""

    wire: bytes
    id: int
    flags: int
    name: Name
    qtype: int
    qclass: int
    question_end: int
    opt: bytes
    """The OPT record, b"" without one: then nobody may put one into the answer."""
    udp_size: int
    """Octets of an answer that the asker takes over UDP."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing but OPT stands behind the question: no signature, say."""
        return self.wire[10:12] == (b"\0\1" if self.opt else b"\0\0")


@dataclass(frozen=True, slots=True)
class Record:
    """Where a record lies in its message; `section` is 1 answer, 2 authority, 3 additional."""

    section: int
    start: int
    rtype: int
    data_start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a certain query: right id and question, and all records within bounds."""

    wire: bytes
    flags: int
    question_end: int
    records: tuple[Record, ...]
    server: str = ""
    """The address that gave it; empty where it came through the tunnel."""

    @property
    def rcode(self) -> int:
        """The header's four bits of the response code."""
        return self.flags & _RCODE

    @property
    def truncated(self) -> bool:
        """Whether the server says that there is more over TCP."""
        return bool(self.flags & TC)


def parse_query(wire: bytes) -> Query:
    """The query in a message: one question and nothing but additional records behind it.

    Raises RemoteProtocolError for all else, also for what is a reply (see `build_rejection`).
    """
    id_, flags, questions, answers, authorities, additional = _parse_header(wire)
    if flags & QR:
        raise RemoteProtocolError("a DNS reply came where a query was expected")
    if flags & _OPCODE:
        raise RemoteProtocolError("the DNS opcode is not QUERY")
    if questions != 1 or answers or authorities:
        # RFC 9619: more than one question is a format error.
        raise RemoteProtocolError("a DNS query has not exactly one question, or has answers")
    name, end = read_wire_name(wire, HEADER.size)
    qtype, qclass = _parse_question_tail(wire, end)
    end += 4
    records = _parse_records(wire, end, (0, 0, additional))
    if (records[-1].end if records else end) != len(wire):
        raise RemoteProtocolError("a DNS query has bytes behind its end")
    opts = [wire[record.start : record.end] for record in records if record.rtype == OPT]
    if len(opts) > 1:
        raise RemoteProtocolError("a DNS query has several OPT records")
    return Query(
        wire=wire,
        id=id_,
        flags=flags,
        name=name,
        qtype=qtype,
        qclass=qclass,
        question_end=end,
        opt=opts[0] if opts else b"",
        udp_size=_parse_udp_size(opts[0]) if opts else PLAIN_UDP_SIZE,
    )


def build_rejection(wire: bytes) -> bytes | None:
    """What to answer to bytes that `parse_query` refused: a bare header, so never more than came.

    None where no answer may go out: too short to have an id, or itself a reply (two servers would
    answer each other for ever).
    """
    if len(wire) < HEADER.size:
        return None
    id_, flags, *_ = HEADER.unpack_from(wire)
    if flags & QR:
        return None
    rcode = NOTIMP if flags & _OPCODE else FORMERR
    return HEADER.pack(id_, QR | flags & (_OPCODE | RD) | rcode, 0, 0, 0, 0)


def build_question(query: Query, name: Name, opt: bytes | None = None) -> Query:
    """The same query for another name; of additional records only OPT stays, or `opt` instead.

    (A TSIG signature would be wrong for another name.)
    """
    opt = query.opt if opt is None else opt
    question = build_wire_name(name) + struct.pack("!HH", query.qtype, query.qclass)
    header = HEADER.pack(query.id, query.flags, 1, 0, 0, 1 if opt else 0)
    return Query(
        wire=header + question + opt,
        id=query.id,
        flags=query.flags,
        name=name,
        qtype=query.qtype,
        qclass=query.qclass,
        question_end=HEADER.size + len(question),
        opt=opt,
        udp_size=query.udp_size,
    )


def parse_answer(wire: bytes, query: Query) -> Answer:
    """The answer to `query` in a message that claims to be it.

    The id must be the query's own, and so must the question, apart from its case (RFC 5452
    section 3); errors may come without a question, as servers send them that could not read it.
    Bytes behind the end are cut off. Raises RemoteProtocolError for anything else.
    """
    if not is_answer_to(query.wire, wire):
        raise RemoteProtocolError("a DNS message is no answer, or the answer to another query")
    return parse_own_answer(wire)


def parse_own_answer(wire: bytes) -> Answer:
    """The answer in a message of which it is known already which query it answers.

    Raises RemoteProtocolError where something in it is out of bounds.
    """
    _, flags, questions, *counts = _parse_header(wire)
    end = HEADER.size + (len(parse_question(wire)) if questions else 0)
    records = _parse_records(wire, end, (counts[0], counts[1], counts[2]))
    length = records[-1].end if records else end
    return Answer(wire[:length], flags, end, records)


def build_addressed(answer: Answer, query: Query) -> bytes:
    """An answer to the same question, addressed to who asked `query`: its id, and its case.

    The question's name is the same, so it has the same length.
    """
    # An error may come without its question.
    question_end = min(answer.question_end, query.question_end)
    return (
        query.wire[:2]
        + answer.wire[2 : HEADER.size]
        + (query.wire[HEADER.size : question_end] + answer.wire[question_end:])
    )


def fit_answer(answer: Answer, size: int) -> bytes:
    """The answer in at most `size` octets: whole records from the front, and the OPT record.

    TC is set where an answer or authority is missing, so that the client asks over TCP; additional
    records may be missing without that (RFC 2181 section 9).
    """
    if len(answer.wire) <= size:
        return answer.wire
    opt = b""
    for record in answer.records:
        if record.rtype == OPT:
            opt = answer.wire[record.start : record.end]
    counts = [0, 0, 0]
    end = answer.question_end
    flags = answer.flags
    for record in answer.records:
        if record.end + len(opt) > size or record.rtype == OPT:
            if record.section < 3:
                flags |= TC
            break
        counts[record.section - 1] += 1
        end = record.end
    if end + len(opt) <= size:
        counts[2] += 1 if opt else 0
    else:
        opt = b""
    id_, _, questions, *_ = HEADER.unpack_from(answer.wire)
    return HEADER.pack(id_, flags, questions, *counts) + answer.wire[HEADER.size : end] + opt


def build_error(query: Query, rcode: int, reason: str = "") -> bytes:
    """Our own answer to a query: an RCODE, and in words why, where the asker knows EDNS0."""
    option = b""
    if reason:
        text = reason.encode("ascii", "replace")
        option = struct.pack("!HHH", _EXTENDED_ERROR, 2 + len(text), _NETWORK_ERROR) + text
    opt = b"\0" + _RECORD.pack(OPT, _OWN_UDP_SIZE, 0, len(option)) + option if query.opt else b""
    header = HEADER.pack(
        query.id, QR | query.flags & (RD | CD) | RA | rcode, 1, 0, 0, 1 if opt else 0
    )
    return header + query.wire[HEADER.size : query.question_end] + opt


def _parse_header(wire: bytes) -> tuple[int, int, int, int, int, int]:
    if len(wire) < HEADER.size:
        raise RemoteProtocolError("a DNS message is shorter than its header")
    id_, flags, questions, answers, authorities, additional = HEADER.unpack_from(wire)
    return id_, flags, questions, answers, authorities, additional


def _parse_question_tail(wire: bytes, offset: int) -> tuple[int, int]:
    """Type and class behind a question's name."""
    if offset + 4 > len(wire):
        raise RemoteProtocolError("a DNS question is cut off")
    qtype, qclass = struct.unpack_from("!HH", wire, offset)
    return qtype, qclass


def _parse_records(wire: bytes, offset: int, counts: tuple[int, int, int]) -> tuple[Record, ...]:
    """All records from `offset` on, as many a section as `counts` says."""
    records = []
    for section, count in enumerate(counts, start=1):
        for _ in range(count):
            fixed = skip_wire_name(wire, offset)
            data_start = fixed + _RECORD.size
            if data_start > len(wire):
                raise RemoteProtocolError("a DNS record is cut off")
            rtype, _, _, length = _RECORD.unpack_from(wire, fixed)
            end = data_start + length
            if end > len(wire):
                raise RemoteProtocolError("a DNS record is cut off")
            if rtype == OPT and wire[offset] != 0:
                # RFC 6891 section 6.1.2; it lets us move the record as it is.
                raise RemoteProtocolError("an OPT record has a name")
            records.append(Record(section, offset, rtype, data_start, end))
            offset = end
    return tuple(records)


def _parse_udp_size(opt: bytes) -> int:
    """The size in an OPT record: its class; less than 512 means 512 (RFC 6891 section 6.2.3)."""
    _, size, _, _ = _RECORD.unpack_from(opt, 1)
    return min(max(int(size), PLAIN_UDP_SIZE), _LARGEST_UDP_SIZE)
