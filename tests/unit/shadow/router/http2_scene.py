"""HTTP/2 by hand: a client, and a server that answers each stream."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
from router_scene import LIMIT_S

from ktnet.shadow.router.goaway import build_goaway


class Client:
    """HTTP/2 by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self._reader, self._writer = reader, writer

    def get(self, stream: int, *fields: tuple[str, str], method: str = "GET") -> None:
        self.h2.send_headers(
            stream,
            [
                (":method", method),
                (":path", "/"),
                (":scheme", "http"),
                (":authority", "t"),
                *fields,
            ],
            end_stream=method == "GET",
        )

    async def collect(self, until: int) -> dict[int, bytes]:
        """Bodies by stream, once `until` streams have ended."""
        bodies: dict[int, bytes] = {}
        ended = 0
        async with asyncio.timeout(LIMIT_S):
            while ended < until:
                self._writer.write(self.h2.data_to_send())
                data = await self._reader.read(65536)
                assert data
                for event in self.h2.receive_data(data):
                    if isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                        self.h2.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                    elif isinstance(event, h2.events.StreamReset):
                        bodies[event.stream_id] = b"reset:%d" % event.error_code
                        ended += 1
                    elif isinstance(event, h2.events.StreamEnded):
                        ended += 1
        return bodies


async def serve_h2(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    goaway: bool = False,
    body: bytes = b"ok",
) -> None:
    """Answers each stream; with `goaway`, says GOAWAY behind the first and still answers it."""
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    conn.initiate_connection()
    writer.write(conn.data_to_send())
    try:
        while data := await reader.read(65536):
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    if goaway:
                        writer.write(conn.data_to_send() + build_goaway(event.stream_id))
                    conn.send_headers(event.stream_id, [(":status", "200")])
                    conn.send_data(event.stream_id, body, end_stream=True)
            writer.write(conn.data_to_send())
    except ConnectionError:
        pass
    finally:
        writer.close()
