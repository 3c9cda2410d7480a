"""How SSH channels begin and end: payloads of the messages, without the packets around them.

RFC 4254 sections 5.1, 5.3, 5.4 and 7.2. What a peer sends is checked to the last byte; where it
isn't as it has to be, that is a RemoteProtocolError, after which the connection is to be closed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ktnet.errors import RemoteProtocolError

MSG_CHANNEL_OPEN = 90
MSG_OPEN_CONFIRMATION = 91
MSG_OPEN_FAILURE = 92
MSG_EOF = 96
MSG_CLOSE = 97
MSG_REQUEST = 98
MSG_FAILURE = 100

WINDOW_GROWTH = b"window-growth@ktnet"
"""A request of ours (RFC 4254 section 5.4; who doesn't know it ignores it): so many bytes of the
next WINDOW_ADJUST aren't for data that was taken, but make the window larger."""

DIRECT_TCPIP = b"direct-tcpip"

_NUMBER = struct.Struct(">I")
_TO_CHANNEL = struct.Struct(">BI")
_OPEN = struct.Struct(">III")
_CONFIRMATION = struct.Struct(">BIIII")
_FAILURE = struct.Struct(">BII")


@dataclass(frozen=True)
class Terms:
    """What one end says of itself when a channel is opened."""

    number: int
    """Its own for the channel."""
    window_bytes: int
    largest_packet_bytes: int


@dataclass(frozen=True)
class TcpOpen:
    """A request for a connection to host:port."""

    terms: Terms
    host: str
    port: int
    origin: tuple[str, int]


def build_tcp_open(kind: bytes, request: TcpOpen) -> bytes:
    """SSH_MSG_CHANNEL_OPEN of this kind (RFC 4254 section 7.2)."""
    terms = request.terms
    return b"".join(
        (
            bytes((MSG_CHANNEL_OPEN,)),
            _build_string(kind),
            _OPEN.pack(terms.number, terms.window_bytes, terms.largest_packet_bytes),
            _build_string(request.host.encode()),
            _NUMBER.pack(request.port),
            _build_string(request.origin[0].encode()),
            _NUMBER.pack(request.origin[1]),
        )
    )


def parse_open_kind(payload: bytes) -> bytes:
    """Which kind of channel an SSH_MSG_CHANNEL_OPEN asks for."""
    return _parse_string(payload, 1)[0]


def parse_tcp_open(payload: bytes) -> TcpOpen:
    """The rest of one that asks for a TCP connection."""
    _, at = _parse_string(payload, 1)
    number, at = _parse_number(payload, at)
    window_bytes, at = _parse_number(payload, at)
    largest_packet_bytes, at = _parse_number(payload, at)
    host, at = _parse_string(payload, at)
    port, at = _parse_number(payload, at)
    origin_host, at = _parse_string(payload, at)
    origin_port, at = _parse_number(payload, at)
    if at != len(payload):
        raise RemoteProtocolError("an SSH channel request with something behind it")
    terms = _build_terms(number, window_bytes, largest_packet_bytes)
    try:
        return TcpOpen(terms, host.decode(), port, (origin_host.decode(), origin_port))
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("an SSH channel request for what is no name") from error


def build_open_confirmation(recipient: int, terms: Terms) -> bytes:
    """SSH_MSG_CHANNEL_OPEN_CONFIRMATION for the peer's channel `recipient`."""
    return _CONFIRMATION.pack(
        MSG_OPEN_CONFIRMATION,
        recipient,
        terms.number,
        terms.window_bytes,
        terms.largest_packet_bytes,
    )


def parse_open_confirmation(payload: bytes) -> Terms:
    """What the peer says of itself."""
    if len(payload) != _CONFIRMATION.size:  # more is for kinds of channels that we don't open
        raise RemoteProtocolError("a malformed SSH channel confirmation")
    return _build_terms(*_CONFIRMATION.unpack(payload)[2:])


def build_open_failure(recipient: int, code: int, reason: str) -> bytes:
    """SSH_MSG_CHANNEL_OPEN_FAILURE; the language tag is empty."""
    return (
        _FAILURE.pack(MSG_OPEN_FAILURE, recipient, code) + _build_string(reason.encode()) + bytes(4)
    )


def parse_open_failure(payload: bytes) -> int:
    """The reason code. What is said in words is nobody's to read: any peer may write them."""
    if len(payload) < _FAILURE.size:
        raise RemoteProtocolError("a malformed SSH channel failure")
    code: int = _FAILURE.unpack_from(payload)[2]
    return code


def build_to_channel(kind: int, recipient: int) -> bytes:
    """A message that says nothing more: EOF, CLOSE or FAILURE."""
    return _TO_CHANNEL.pack(kind, recipient)


def parse_recipient(payload: bytes) -> int:
    """Whose channel of ours any message but SSH_MSG_CHANNEL_OPEN is about."""
    if len(payload) < _TO_CHANNEL.size:
        raise RemoteProtocolError("an SSH channel message without a channel")
    recipient: int = _NUMBER.unpack_from(payload, 1)[0]
    return recipient


def check_nothing_more(payload: bytes) -> None:
    """Of EOF and CLOSE."""
    if len(payload) != _TO_CHANNEL.size:
        raise RemoteProtocolError("an SSH channel's end with something behind it")


def parse_wants_reply(payload: bytes) -> bool:
    """Of an SSH_MSG_CHANNEL_REQUEST of whatever kind (RFC 4254 section 5.4)."""
    _, at = _parse_string(payload, _TO_CHANNEL.size)
    if at >= len(payload):
        raise RemoteProtocolError("a malformed SSH channel request")
    return payload[at] != 0


def build_window_growth(recipient: int, count: int) -> bytes:
    """The channel request that says so; nobody is to answer it."""
    head = _TO_CHANNEL.pack(MSG_REQUEST, recipient) + _build_string(WINDOW_GROWTH)
    return head + b"\0" + _NUMBER.pack(count)


def parse_window_growth(payload: bytes) -> int | None:
    """How many bytes an SSH_MSG_CHANNEL_REQUEST tells of; None: it is about something else."""
    kind, at = _parse_string(payload, _TO_CHANNEL.size)
    if kind != WINDOW_GROWTH:
        return None
    count, at = _parse_number(payload, at + 1)
    if at != len(payload):
        raise RemoteProtocolError("a window's growth with something behind it")
    return count


def _build_terms(number: int, window_bytes: int, largest_packet_bytes: int) -> Terms:
    if not largest_packet_bytes:
        raise RemoteProtocolError("an SSH channel for packets of no bytes")
    return Terms(number, window_bytes, largest_packet_bytes)


def _build_string(text: bytes) -> bytes:
    return _NUMBER.pack(len(text)) + text


def _parse_number(payload: bytes, at: int) -> tuple[int, int]:
    if at + _NUMBER.size > len(payload):
        raise RemoteProtocolError("an SSH channel message that ends too soon")
    number: int = _NUMBER.unpack_from(payload, at)[0]
    return number, at + _NUMBER.size


def _parse_string(payload: bytes, at: int) -> tuple[bytes, int]:
    length, at = _parse_number(payload, at)
    if at + length > len(payload):
        raise RemoteProtocolError("an SSH channel message that ends too soon")
    return payload[at : at + length], at + length
