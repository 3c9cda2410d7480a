"""An HTTP request that becomes a WebSocket (RFC 6455 section 4), and what is left of HTTP after it.

aiohttp dials (by proxy, TLS and name as for every request) and reads the answer. Then the
connection is taken from it: its own WebSocket copies each byte four times more than need be, and
passes each message through a queue to a task.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Mapping

import aiohttp

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Section 1.3."""


class NoUpgrade(aiohttp.ClientError):
    """An answer that says 101 and is none to what was asked."""


class Upgraded:
    """A connection on which nobody speaks HTTP any more."""

    def __init__(self, response: aiohttp.ClientResponse, subprotocol: str) -> None:
        self.subprotocol = subprotocol
        """What the server has chosen of those that it was offered; or nothing."""
        self._response = response
        connection = response.connection
        transport = connection and connection.transport
        if connection is None or connection.protocol is None or transport is None:
            raise aiohttp.ClientConnectionError("the connection was lost with the answer")
        self._handler = connection.protocol
        self._transport = transport

    def hand_over(self, protocol: asyncio.BufferedProtocol) -> asyncio.Transport:
        """Let `protocol` have the connection, as asyncio's transports do: what has come already,
        then what comes. It has to pass the connection's loss on to `connection_lost`."""
        early = _Early()
        self._handler.set_parser(early, None)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        feed_buffered(protocol, memoryview(early.data))
        if self._transport.is_closing():  # Whoever had it before may be the one who was told.
            asyncio.get_running_loop().call_soon(protocol.connection_lost, None)
        return self._transport

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._handler.connection_lost(error)

    def close(self) -> None:
        """Close the connection when all is sent, and have it forgotten."""
        self._response.close()


def feed_buffered(protocol: asyncio.BufferedProtocol, data: memoryview) -> None:
    """Give it what lies in somebody else's buffer."""
    while data:
        buffer = memoryview(protocol.get_buffer(len(data)))
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]


class _Early:
    """What came behind the answer; aiohttp takes it for a reader of its own."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """The connection is gone: that we learn otherwise."""


def build_request_headers(key: str, subprotocol: str) -> Mapping[str, str]:
    """What asks for a WebSocket."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Protocol": subprotocol,
    }


def new_key() -> str:
    """A nonce, by which the server shows that it has understood."""
    return base64.b64encode(os.urandom(16)).decode()


def check_answer(response: aiohttp.ClientResponse, key: str, subprotocol: str) -> Upgraded:
    """Take the connection of an answer 101. Raises NoUpgrade for one that isn't right."""
    headers: Mapping[str, str] = response.headers
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    if (
        headers.get("Upgrade", "").lower() != "websocket"
        or headers.get("Connection", "").lower() != "upgrade"
        or headers.get("Sec-WebSocket-Accept", "") != base64.b64encode(digest).decode()
        or headers.get("Sec-WebSocket-Extensions")
    ):
        raise NoUpgrade("the answer to the request for a WebSocket is none")
    chosen = headers.get("Sec-WebSocket-Protocol", "").strip()
    if chosen not in {"", subprotocol}:
        raise NoUpgrade(f"the server chose {chosen[:64]!r} where {subprotocol} was offered")
    return Upgraded(response, chosen)
