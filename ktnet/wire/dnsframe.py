"""DNS messages on a stream: each behind its length in two bytes (RFC 1035 section 4.2.2)."""

from __future__ import annotations

from ktnet.errors import LocalProtocolError, RemoteProtocolError

LARGEST_MESSAGE_BYTES = 0xFFFF
"""What two bytes of length can say."""


def build_frame(message: bytes) -> bytes:
    """`message` behind its length. LocalProtocolError where it is empty or too long."""
    if not 0 < len(message) <= LARGEST_MESSAGE_BYTES:
        raise LocalProtocolError(f"a DNS message of {len(message)} bytes fits into no frame")
    return len(message).to_bytes(2, "big") + message


class FrameReader:
    """Cuts a stream into messages, however its bytes are dealt out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. RemoteProtocolError on an empty frame."""
        self._buffer += data
        messages: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= 2:
            length = int.from_bytes(self._buffer[start : start + 2], "big")
            if length == 0:
                raise RemoteProtocolError("an empty DNS frame")
            end = start + 2 + length
            if len(self._buffer) < end:
                break
            messages.append(bytes(self._buffer[start + 2 : end]))
            start = end
        del self._buffer[:start]
        return messages
