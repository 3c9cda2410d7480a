"""The little of a DNS message that a carrier of it has to understand (RFC 1035 section 4.1).

Both ends rewrite the id and check that an answer belongs to its question; nothing else is read
or changed, so whatever record types there will be pass as the server sent them.
"""

from __future__ import annotations

from ktnet.errors import RemoteProtocolError

HEADER_BYTES = 12

_RESPONSE = 0x80  # QR, in the third byte
_TRUNCATED = 0x02  # TC, in the third byte
_OPCODE_AND_RD = 0x79  # what an answer repeats of its question's third byte
_SERVFAIL = 2
_HEADER_ONLY_RCODES = {1, 2, 4, 5}
"""FORMERR, SERVFAIL, NOTIMP, REFUSED: some servers answer these without the question."""

_LONGEST_NAME_BYTES = 255
_LONGEST_LABEL_BYTES = 63


def parse_id(message: bytes) -> int:
    """The message's id. RemoteProtocolError where it is shorter than a header."""
    if len(message) < HEADER_BYTES:
        raise RemoteProtocolError(f"a DNS message of {len(message)} bytes has no header")
    return int.from_bytes(message[:2], "big")


def build_with_id(message: bytes, message_id: int) -> bytes:
    """The same message under another id."""
    return message_id.to_bytes(2, "big") + message[2:]


def parse_question(message: bytes) -> bytes:
    """The one question as it came: name, type and class, in wire format.

    RemoteProtocolError where there is none, or several, or it is malformed.
    """
    parse_id(message)
    if message[4:6] != b"\x00\x01":
        raise RemoteProtocolError("a DNS message with other than one question")
    position = HEADER_BYTES
    while True:
        if position >= len(message):
            raise RemoteProtocolError("a DNS question that ends too soon")
        length = message[position]
        position += 1
        if length == 0:
            break
        if length > _LONGEST_LABEL_BYTES:
            # Nothing comes before the question that a compression pointer could point at.
            raise RemoteProtocolError("a DNS question with a malformed name")
        position += length
    if position - HEADER_BYTES > _LONGEST_NAME_BYTES:
        raise RemoteProtocolError("a DNS question with a name of over 255 bytes")
    if position + 4 > len(message):
        raise RemoteProtocolError("a DNS question without type and class")
    return message[HEADER_BYTES : position + 4]


def is_query(message: bytes) -> bool:
    """Whether the header says that this is a question."""
    return len(message) >= HEADER_BYTES and not message[2] & _RESPONSE


def is_truncated(message: bytes) -> bool:
    """Whether the server says that there is more than fitted (TC)."""
    return len(message) >= HEADER_BYTES and bool(message[2] & _TRUNCATED)


def is_answer_to(query: bytes, answer: bytes) -> bool:
    """Whether `answer` is a response to `query`: same id, same question but for its case."""
    if len(answer) < HEADER_BYTES or not answer[2] & _RESPONSE or answer[:2] != query[:2]:
        return False
    if answer[4:6] == b"\x00\x00":
        return answer[3] & 0x0F in _HEADER_ONLY_RCODES
    try:
        # bytes.lower() changes ASCII letters only; a label's length is below "A" (RFC 4343).
        return parse_question(answer).lower() == parse_question(query).lower()
    except RemoteProtocolError:
        return False


def build_servfail(query: bytes) -> bytes:
    """The answer to `query` that says: the server failed. RemoteProtocolError as parse_question."""
    question = parse_question(query)
    flags = bytes([_RESPONSE | (query[2] & _OPCODE_AND_RD), _SERVFAIL])
    return query[:2] + flags + b"\x00\x01" + bytes(6) + question
