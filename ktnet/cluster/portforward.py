"""A byte stream to a port of a pod, through the API server, without a local TCP port.

`open_forward` dials; what it gives is an asyncio transport like any other, whose bytes travel in
whole messages of a WebSocket. There is no half-close: either side's end is the end of both.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from ktnet.cluster.server.answers import Refused
from ktnet.cluster.server.api import Api
from ktnet.errors import KtnetError, NotFound, RemoteProtocolError, TunnelError
from ktnet.tasks import open_tasks
from ktnet.wire.portforward import DATA_PREFIX, SUBPROTOCOL, ClientDecoder, Data, Event, Failed

log = logging.getLogger(__name__)

ProtocolFactory = Callable[[], asyncio.BaseProtocol]
WebSocket = aiohttp.ClientWebSocketResponse[Literal[True]]

_MESSAGE_SIZE = 256 << 10
"""Most bytes of one message to the server. It takes 8 MiB, but holds a message whole before it
passes any of it on; masking and encrypting work best on what fits into a processor's cache."""

_HIGH_WATER, _LOW_WATER = 512 << 10, 128 << 10
"""Bytes waiting to be sent at which the protocol is paused and resumed: two messages, so that the
next one is there when one has gone."""

_OPEN_TIMEOUT_S = 15
"""For the server to reach the kubelet, after the WebSocket is up."""

_CLOSE_TIMEOUT_S = 2
"""For the server to answer our close; then the connection is cut."""

_TICK_S = 2.0
_SILENT_TICKS_TO_PING = 2
_SILENT_TICKS_TO_GIVE_UP = 7
"""14 s without a byte, though pinged at 4, 6, ...: the tunnel is dead. Ticks are counted, not
time, so that a laptop that slept gives the server a chance to answer."""


async def open_forward(
    api: Api,
    namespace: str,
    pod: str,
    port: int,
    protocol_factory: ProtocolFactory,
    tasks: asyncio.TaskGroup,
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Connect to 127.0.0.1:port in the pod, like `loop.create_connection`.

    `tasks` carries the stream for as long as it lives. Raises TunnelError with the server's cause,
    ClusterUnreachable or Forbidden; what goes wrong later the protocol's `connection_lost` gets.
    """
    try:
        socket = await api.dial_websocket(
            "pods", pod, "portforward", {"ports": port}, namespace=namespace, protocol=SUBPROTOCOL
        )
    except (NotFound, Refused) as error:  # The pod is gone, or has no node or network.
        raise TunnelError(f"no port-forward to pod {pod}: {error.message}") from error
    decoder = ClientDecoder(port)
    try:
        await _wait_until_open(socket, decoder, pod)
        protocol = protocol_factory()
        transport = ForwardTransport(socket, decoder, protocol)
        protocol.connection_made(transport)
    except BaseException:
        await _close(socket)
        raise
    tasks.create_task(transport.run(), name=f"port-forward to {pod}:{port}")
    return transport, protocol


async def _wait_until_open(socket: WebSocket, decoder: ClientDecoder, pod: str) -> None:
    if socket.protocol != SUBPROTOCOL:
        raise RemoteProtocolError(f"the API server does not speak {SUBPROTOCOL}")
    try:
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            while not decoder.opened:
                if isinstance(await _receive(socket, decoder), _Closed):
                    raise TunnelError(f"the port-forward to pod {pod} was closed before it opened")
    except TimeoutError:
        raise TunnelError(f"the kubelet of pod {pod} does not answer") from None


class ForwardTransport(asyncio.Transport):
    """One forwarded connection, as asyncio's transports are (and with their semantics)."""

    def __init__(
        self, socket: WebSocket, decoder: ClientDecoder, protocol: asyncio.BaseProtocol
    ) -> None:
        super().__init__()
        self._socket = socket
        self._decoder = decoder
        self._protocol: Any = protocol
        self._pending: deque[bytes | memoryview] = deque()
        self._pending_size = 0
        self._something_to_send = asyncio.Event()
        self._high, self._low = _HIGH_WATER, _LOW_WATER
        self._writing_paused = False
        self._reading = asyncio.Event()
        self._reading.set()
        self._heard = True
        self._closing = False
        self._sent_all = asyncio.Event()
        self._aborted = asyncio.Event()

    async def run(self) -> None:
        """Carry bytes until either side ends it; the protocol hears of the end, nobody else."""
        error: Exception | None = None
        try:
            async with open_tasks() as tasks:
                tasks.create_task(self._send_until_closed())
                tasks.create_task(self._give_up_on_silence())
                tasks.create_task(self._raise_on_abort())
                await self._receive_until_closed()
        except _Aborted:
            pass
        except Exception as failure:
            error = failure
            if not isinstance(failure, KtnetError):
                log.exception("the protocol on a port-forward failed")
        finally:
            self._closing = True
            self._pending.clear()
            self._pending_size = 0
            self._protocol.connection_lost(error)
            await _close(self._socket)

    # Towards the pod

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._closing or not data:
            return
        self._pending.append(data if type(data) is bytes else bytes(data))
        self._pending_size += len(self._pending[-1])
        self._something_to_send.set()
        if self._pending_size > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        for data in list_of_data:
            self.write(data)

    async def _send_until_closed(self) -> None:
        try:
            while self._pending or not self._closing:
                await self._something_to_send.wait()
                self._something_to_send.clear()
                await self._send_pending()
            # What was sent has surely arrived only when the server has answered our goodbye.
            await _close(self._socket)
        except (ConnectionError, aiohttp.ClientError):
            pass  # The receiving side knows why.
        finally:
            self._sent_all.set()

    async def _send_pending(self) -> None:
        while self._pending:
            message, size = self._take_message()
            await self._socket.send_bytes(message)
            self._pending_size -= size
            if self._writing_paused and self._pending_size <= self._low:
                self._writing_paused = False
                self._protocol.resume_writing()

    def _take_message(self) -> tuple[bytes, int]:
        """The next message, and how many bytes of data are in it."""
        parts: list[bytes | memoryview] = [DATA_PREFIX]
        size = 0
        while self._pending and size < _MESSAGE_SIZE:
            part = self._pending.popleft()
            room = _MESSAGE_SIZE - size
            if len(part) > room:
                view = memoryview(part)
                self._pending.appendleft(view[room:])
                part = view[:room]
            parts.append(part)
            size += len(part)
        return b"".join(parts), size

    def get_write_buffer_size(self) -> int:
        return self._pending_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}), and low >= 0")
        self._high, self._low = high, low

    def can_write_eof(self) -> bool:
        return False

    # From the pod

    async def _receive_until_closed(self) -> None:
        while True:
            await self._reading.wait()
            event = await _receive(self._socket, self._decoder)
            self._heard = True
            match event:
                case Data(payload):
                    self._deliver(payload)
                case _Closed(orderly):
                    if self._closing:
                        await self._sent_all.wait()
                    elif not orderly:
                        raise TunnelError("the connection to the API server broke")
                    return

    def _deliver(self, payload: memoryview) -> None:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(bytes(payload))
            return
        while payload:
            buffer = memoryview(protocol.get_buffer(len(payload)))
            count = min(len(buffer), len(payload))
            buffer[:count] = payload[:count]
            protocol.buffer_updated(count)
            payload = payload[count:]

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def is_reading(self) -> bool:
        return self._reading.is_set() and not self._closing

    async def _give_up_on_silence(self) -> None:
        silent = 0
        while silent < _SILENT_TICKS_TO_GIVE_UP:
            await asyncio.sleep(_TICK_S)
            # Who doesn't read can't hear an answer either.
            silent = 0 if self._heard or not self._reading.is_set() else silent + 1
            self._heard = False
            if silent >= _SILENT_TICKS_TO_PING:
                try:
                    await self._socket.ping()
                except (ConnectionError, aiohttp.ClientError):
                    return  # The receiving side knows why.
        raise TunnelError("the port-forward is dead: no answer for 14 s")

    # The end

    def close(self) -> None:
        self._closing = True
        self._something_to_send.set()

    def abort(self) -> None:
        self._closing = True
        self._aborted.set()

    def is_closing(self) -> bool:
        return self._closing

    async def _raise_on_abort(self) -> None:
        await self._aborted.wait()
        raise _Aborted

    # What it is

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol


class _Aborted(Exception):
    """This side has given the stream up."""


@dataclass(frozen=True, slots=True)
class _Closed:
    """There is nothing more to come."""

    orderly: bool
    """With a closing handshake: what a server does whatever the cause."""


async def _receive(socket: WebSocket, decoder: ClientDecoder) -> Event | _Closed | None:
    """The next thing that the server says; None for what needs no attention.

    Raises TunnelError with the server's cause, RemoteProtocolError for what isn't the protocol.
    """
    message = await socket.receive()
    event: Event | _Closed | None = None
    match message.type:
        case aiohttp.WSMsgType.BINARY:
            event = decoder.receive_message(message.data)
            if isinstance(event, Failed):
                raise TunnelError(f"the port-forward failed: {event.reason}")
        case aiohttp.WSMsgType.TEXT:
            decoder.receive_text()
        case aiohttp.WSMsgType.PING:
            await socket.pong(message.data)
        case aiohttp.WSMsgType.CLOSE:
            event = _Closed(orderly=True)
        case aiohttp.WSMsgType.CLOSED | aiohttp.WSMsgType.CLOSING:
            event = _Closed(orderly=False)
        case aiohttp.WSMsgType.ERROR:
            raise RemoteProtocolError(f"the port-forward is no proper WebSocket: {message.data}")
    return event


async def _close(socket: WebSocket) -> None:
    """Say goodbye; where nobody answers, aiohttp cuts the connection as this is cancelled."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await socket.close()
