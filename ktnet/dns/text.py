"""DNS messages in text, for people. Pure; reads with dnslib, and by itself what that refuses."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dnslib import QTYPE, RCODE, RR, DNSBuffer, DNSError

from ktnet.dns.messages import OPT, Answer
from ktnet.dns.names import format_name, read_wire_name
from ktnet.errors import UsageError

SECTIONS = {1: "answer", 2: "authority", 3: "additional"}


@dataclass(frozen=True, slots=True)
class RecordText:
    """A record as in a zone file."""

    section: str
    name: str
    ttl_s: int
    rtype: str
    data: str


def parse_type(text: str) -> int:
    """The number of a record type, `AAAA` or `TYPE28` (RFC 3597 section 5). Raises UsageError."""
    upper = text.upper()
    number = QTYPE.reverse.get(upper)
    digits = upper.removeprefix("TYPE")
    if number is None and upper.startswith("TYPE") and _is_small_number(digits):
        number = int(digits)
    if number is None or number > 0xFFFF:
        raise UsageError(f"{text!r} is no type of DNS records", hint="such as A, AAAA, SRV or PTR")
    return int(number)


def _is_small_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


def format_type(number: int) -> str:
    """The name of a record type."""
    return str(QTYPE.forward.get(number, f"TYPE{number}"))


def format_rcode(rcode: int) -> str:
    """The name of a response code."""
    return str(RCODE.forward.get(rcode, f"RCODE{rcode}"))


def format_records(answer: Answer) -> list[RecordText]:
    """All records but OPT. Raises RemoteProtocolError where a name in front of one is broken."""
    texts = []
    for record in answer.records:
        if record.rtype == OPT:
            continue
        name, fixed = read_wire_name(answer.wire, record.start)
        (ttl_s,) = struct.unpack_from("!I", answer.wire, fixed + 4)
        texts.append(
            RecordText(
                section=SECTIONS[record.section],
                name=format_name(name),
                ttl_s=ttl_s,
                rtype=format_type(record.rtype),
                data=_format_data(answer.wire, record.start, record.data_start, record.end),
            )
        )
    return texts


def _format_data(wire: bytes, start: int, data_start: int, end: int) -> str:
    buffer = DNSBuffer(wire)
    buffer.offset = start
    try:
        text = str(RR.parse(buffer).rdata)
    except (DNSError, ValueError, LookupError, struct.error):
        text = ""
    if text and text.isprintable():
        return text
    data = wire[data_start:end]
    return f"\\# {len(data)} {data.hex()}".rstrip()  # RFC 3597 section 5
