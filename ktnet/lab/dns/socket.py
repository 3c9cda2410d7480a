"""Serves DNS over UDP and TCP on one address (RFC 1035 section 4.2)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

IDLE_S = 10.0
"""A TCP connection that asks nothing for so long is closed (RFC 7766 section 6.2.3)."""

Respond = Callable[[bytes, bool, str], bytes | None]
"""From a query, whether it came over UDP and the asker's address to an answer, or None."""


@asynccontextmanager
async def open_dns_server(address: str, port: int, respond: Respond) -> AsyncIterator[None]:
    """Answers on address:port until the context is left; raises OSError where it can't bind."""
    loop = asyncio.get_running_loop()
    datagrams, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(respond), local_addr=(address, port)
    )
    open_streams: set[asyncio.Transport] = set()
    try:
        server = await loop.create_server(lambda: _Stream(respond, open_streams), address, port)
        try:
            yield
        finally:
            server.close()
            for stream in set(open_streams):
                stream.abort()
            await server.wait_closed()
    finally:
        datagrams.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not a subclass of it in every version of asyncio, but always one in what it does.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._respond(data, True, addr[0])
        if answer is not None:
            self._transport.sendto(answer, addr)


class _Stream(asyncio.Protocol):
    """One TCP connection: messages behind their length in two bytes."""

    def __init__(self, respond: Respond, open_streams: set[asyncio.Transport]) -> None:
        self._respond = respond
        self._open_streams = open_streams
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open_streams.add(self._transport)
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.cancel()
        self._open_streams.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._transport.close)
        self._buffer += data
        while len(self._buffer) >= 2:
            (length,) = struct.unpack_from("!H", self._buffer)
            if len(self._buffer) < 2 + length:
                return
            query = bytes(self._buffer[2 : 2 + length])
            del self._buffer[: 2 + length]
            answer = self._respond(query, False, self._transport.get_extra_info("peername")[0])
            if answer is None:
                self._transport.close()
                return
            self._transport.write(struct.pack("!H", len(answer)) + answer)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()
