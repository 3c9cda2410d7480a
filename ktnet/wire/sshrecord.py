"""SSH packets under AES-GCM, sealed and opened in place; and the three that carry a flow's bytes.

A packet on the wire (RFC 4253 section 6, RFC 5647 section 7.2, OpenSSH's PROTOCOL 1.6):

    length (4, not encrypted) | padding length (1) | payload | padding (4 to 19) | tag (16)
                                '---------- encrypted: `length` bytes ----------'

The nonce is four fixed bytes and a counter of eight (RFC 5647 section 7.1). It never appears on the
wire, so a packet that was lost, repeated or moved fails its tag. The padding is zeros: its
contents say nothing under a cipher that authenticates.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ktnet.errors import RemoteProtocolError

Buffer = bytearray | memoryview

TAG_BYTES = 16
LENGTH_BYTES = 4
PAYLOAD_OFFSET = 5
"""Of the payload, counted from the packet's start."""

_BLOCK_BYTES = 16
_SMALLEST_PADDING = 4
_MOST_PADDING = 255

OVERHEAD_BYTES = PAYLOAD_OFFSET + _BLOCK_BYTES + _SMALLEST_PADDING + TAG_BYTES
"""What a packet needs at most beside its payload."""

# RFC 4250 section 4.1.2, RFC 4254 section 5.2
MSG_IGNORE = 2
MSG_REQUEST_SUCCESS = 81
MSG_WINDOW_ADJUST = 93
MSG_CHANNEL_DATA = 94

DATA_OFFSET = PAYLOAD_OFFSET + 9
"""Of the data in a CHANNEL_DATA, behind type, channel and length."""

_LENGTH = struct.Struct(">I")
_LENGTH_AND_PADDING = struct.Struct(">IB")
_DATA = struct.Struct(">BII")
_ADJUST = struct.Struct(">BII")
_ZEROS = bytes(_BLOCK_BYTES + _SMALLEST_PADDING)


class Sealer:
    """Encrypts what one end sends, under one key. No two packets share a nonce."""

    __slots__ = ("_aes", "_count", "_fixed")

    def __init__(self, key: bytes, iv: bytes) -> None:
        """`iv` is the twelve bytes for the next packet."""
        self._aes = AESGCM(key)
        self._fixed, self._count = _split_iv(iv)

    def seal(
        self, view: memoryview, start: int, payload_bytes: int, out: memoryview, out_start: int
    ) -> int:
        """Make a packet of the payload that lies in `view` at `start` + PAYLOAD_OFFSET, at
        `out_start` of `out`, which may be the same place; where that ends.

        Either must have OVERHEAD_BYTES more than the payload. What lies around the payload in
        `view` is overwritten.
        """
        padding = -(1 + payload_bytes) % _BLOCK_BYTES
        if padding < _SMALLEST_PADDING:
            padding += _BLOCK_BYTES
        end = start + PAYLOAD_OFFSET + payload_bytes
        view[end : end + padding] = _ZEROS[:padding]
        length = 1 + payload_bytes + padding
        _LENGTH_AND_PADDING.pack_into(view, start, length, padding)
        if out is not view:
            _LENGTH.pack_into(out, out_start, length)
        encrypted, out_encrypted = start + LENGTH_BYTES, out_start + LENGTH_BYTES
        out_end = out_encrypted + length + TAG_BYTES
        self._aes.encrypt_into(
            self._next_nonce(),
            view[encrypted : encrypted + length],
            view[start:encrypted],
            out[out_encrypted:out_end],
        )
        return out_end

    def seal_packet(self, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """The same for a packet that is padded already: (what goes before the tag, tag)."""
        sealed = self._aes.encrypt(self._next_nonce(), packet, header)
        return header + sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]

    def _next_nonce(self) -> bytes:
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) & 0xFFFFFFFFFFFFFFFF
        return nonce


class Opener:
    """Decrypts what the other end sends, under one key.

    After any error nothing more can be opened: the connection is to be closed.
    """

    __slots__ = ("_aes", "_count", "_fixed")

    def __init__(self, key: bytes, iv: bytes) -> None:
        """`iv` is the twelve bytes for the next packet."""
        self._aes = AESGCM(key)
        self._fixed, self._count = _split_iv(iv)

    def open(self, view: memoryview, start: int, length: int) -> int:
        """Decrypt a whole packet in place; how many bytes its payload has, at least one.

        `length` is what `parse_length` said. Raises RemoteProtocolError where the packet was
        changed on its way, or was never one.
        """
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) & 0xFFFFFFFFFFFFFFFF
        encrypted = start + LENGTH_BYTES
        end = encrypted + length
        try:
            self._aes.decrypt_into(
                nonce, view[encrypted : end + TAG_BYTES], view[start:encrypted], view[encrypted:end]
            )
        except InvalidTag:
            raise RemoteProtocolError("an SSH packet was changed on its way") from None
        padding: int = view[encrypted]
        payload_bytes = length - 1 - padding
        if padding < _SMALLEST_PADDING or payload_bytes < 1:
            raise RemoteProtocolError("an SSH packet without a payload")
        return payload_bytes


def parse_length(buffer: Buffer, start: int, most_bytes: int) -> int:
    """The length field at `start`: the bytes that are encrypted, tag not counted.

    It is read before anything is authenticated, so it is bounded here. RemoteProtocolError where
    no packet can have it.
    """
    length: int = _LENGTH.unpack_from(buffer, start)[0]
    if length > most_bytes or length % _BLOCK_BYTES or not length:
        raise RemoteProtocolError(f"an SSH packet of {length} bytes")
    return length


def put_data_header(buffer: Buffer, start: int, channel: int, data_bytes: int) -> int:
    """Writes what goes before the data, for a packet at `start`; the payload's size."""
    _DATA.pack_into(buffer, start + PAYLOAD_OFFSET, MSG_CHANNEL_DATA, channel, data_bytes)
    return _DATA.size + data_bytes


def put_window_adjust(buffer: Buffer, start: int, channel: int, more_bytes: int) -> int:
    """Writes a whole WINDOW_ADJUST, for a packet at `start`; the payload's size."""
    _ADJUST.pack_into(buffer, start + PAYLOAD_OFFSET, MSG_WINDOW_ADJUST, channel, more_bytes)
    return _ADJUST.size


def parse_data_header(buffer: Buffer, start: int, payload_bytes: int) -> tuple[int, int]:
    """(channel, bytes of data) of a CHANNEL_DATA in an opened packet at `start`.

    RemoteProtocolError where the data isn't all there is.
    """
    if payload_bytes < _DATA.size:
        raise RemoteProtocolError("an SSH channel's data without a length")
    _, channel, data_bytes = _DATA.unpack_from(buffer, start + PAYLOAD_OFFSET)
    if data_bytes != payload_bytes - _DATA.size:
        raise RemoteProtocolError("an SSH channel's data of another length than it says")
    return channel, data_bytes


def parse_window_adjust(buffer: Buffer, start: int, payload_bytes: int) -> tuple[int, int]:
    """(channel, bytes) of a WINDOW_ADJUST in an opened packet at `start`."""
    if payload_bytes != _ADJUST.size:
        raise RemoteProtocolError("a malformed SSH window adjustment")
    _, channel, more_bytes = _ADJUST.unpack_from(buffer, start + PAYLOAD_OFFSET)
    return channel, more_bytes


def _split_iv(iv: bytes) -> tuple[bytes, int]:
    return iv[:4], int.from_bytes(iv[4:], "big")
