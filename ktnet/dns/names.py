"""Domain names as tuples of labels: on the wire, in text, and compared. Pure.

Labels are bytes, in the case in which they came: a resolver may compare the case of what it asked
with that of the answer (draft-vixie-dnsext-dns0x20), so none of it is ever folded for good.
"""

from __future__ import annotations

from collections.abc import Iterable

from ktnet.errors import RemoteProtocolError, UsageError

Name = tuple[bytes, ...]
"""Labels from the leftmost on, without the empty one of the root; () is the root itself."""

MAX_LABEL = 63
MAX_WIRE_NAME = 255
"""Octets of a name on the wire, length octets and root included (RFC 1035 section 2.3.4)."""

_POINTER = 0xC0
_HEADER_SIZE = 12
"""No name lies within the header, so no pointer may lead there."""

_PLAIN = frozenset(range(0x21, 0x7F)) - frozenset(b'."\\();@$')
"""What RFC 1035 section 5.1 lets stand for itself in text."""


def parse_name(text: str) -> Name:
    """The name that a user typed, `cluster.local` or `Cluster.Local.`; IDNA where it must be.

    Raises UsageError for what can't be a name.
    """
    bare = text.removesuffix(".")
    try:
        wire = bare.encode("idna")
    except UnicodeError as error:
        raise UsageError(f"{text!r} is no domain name: {error}") from error
    labels = tuple(wire.split(b".")) if wire else ()
    if not all(0 < len(label) <= MAX_LABEL for label in labels) or not fits_wire(labels):
        raise UsageError(f"{text!r} is no domain name: a label is empty or something is too long")
    return labels


def format_name(name: Name) -> str:
    """The name in text, safe to print: other than plain characters as \\DDD (RFC 1035 5.1)."""
    return ".".join(_format_label(label) for label in name) + "."


def _format_label(label: bytes) -> str:
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:03d}" for octet in label)


def fold_case(name: Iterable[bytes]) -> Name:
    """The name as it is compared: names differ not by the case of ASCII letters (RFC 4343)."""
    return tuple(label.lower() for label in name)


def is_under(name: Name, suffix: Name) -> bool:
    """Whether the name is `suffix` or lies under it; both folded already."""
    return len(name) >= len(suffix) and name[len(name) - len(suffix) :] == suffix


def fits_wire(name: Name) -> bool:
    """Whether the name is short enough to be written at all."""
    return sum(len(label) + 1 for label in name) + 1 <= MAX_WIRE_NAME


def build_wire_name(name: Name) -> bytes:
    """The name on the wire, uncompressed; it must fit."""
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def read_wire_name(message: bytes, offset: int) -> tuple[Name, int]:
    """The name at `offset` of a message, and the offset behind it (RFC 1035 section 4.1.4).

    Every pointer must lead in front of the part of the name that it ends, which a correct one
    always does ("a prior occurrence"): so there are no loops, and reading takes bounded time.
    Raises RemoteProtocolError for anything else, and for names over 255 octets.
    """
    labels: list[bytes] = []
    size = 1
    end = -1
    part_start = position = offset
    while True:
        length = _octet(message, position)
        if length == 0:
            return tuple(labels), position + 1 if end < 0 else end
        if length <= MAX_LABEL:
            label = message[position + 1 : position + 1 + length]
            size += 1 + length
            if len(label) < length or size > MAX_WIRE_NAME:
                raise RemoteProtocolError("a DNS name is cut off or longer than 255 octets")
            labels.append(label)
            position += 1 + length
        else:
            target = _pointer_target(message, position, part_start)
            end = position + 2 if end < 0 else end
            part_start = position = target


def skip_wire_name(message: bytes, offset: int) -> int:
    """The offset behind the name at `offset`, without following its pointer.

    Raises RemoteProtocolError where no name is.
    """
    position = offset
    while True:
        length = _octet(message, position)
        if length == 0:
            position += 1
            break
        if length > MAX_LABEL:
            _pointer_target(message, position, offset)
            return position + 2
        position += 1 + length
    if position - offset > MAX_WIRE_NAME:
        raise RemoteProtocolError("a DNS name is longer than 255 octets")
    return position


def _octet(message: bytes, position: int) -> int:
    if position >= len(message):
        raise RemoteProtocolError("a DNS name is cut off")
    return message[position]


def _pointer_target(message: bytes, position: int, limit: int) -> int:
    """Where the pointer at `position` leads: behind the header, in front of `limit`."""
    first = message[position]
    if first < _POINTER:
        raise RemoteProtocolError("a DNS label is of a type that nobody uses (RFC 6891 section 5)")
    target = (first & ~_POINTER) << 8 | _octet(message, position + 1)
    if not _HEADER_SIZE <= target < limit:
        raise RemoteProtocolError("a DNS name points to where no earlier name can be")
    return target
