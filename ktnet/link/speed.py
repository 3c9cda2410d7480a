"""How fast the tunnel is: its throughput each way, its round trips, and what a connection takes.

All through whatever opens flows (a `ktnet.wire.flow.Dialer`), so as any application's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from ktnet.errors import TunnelError
from ktnet.stream.speed import MOST_S, Sink, Source
from ktnet.wire.flow import Dialer, Flow, OpenFailure
from ktnet.wire.shadow import CHARGEN_PORT, DISCARD_PORT, PROBE_HOST, SPEED_HOST

_ORIGIN = ("127.0.0.1", 0)
_OPEN_TIMEOUT_S = 15.0
_DRAIN_TIMEOUT_S = 30.0
"""For what is on its way when the sending ends: buffers along the path, on a slow line."""

_PING_INTERVAL_S = 0.02

R = TypeVar("R", Source, Sink)


class Told(Generic[R]):
    """A receiver that passes all on to `end`, and tells when the flow opens and how it ends."""

    takes_views = True

    def __init__(self, end: R | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.end: R | None = end
        self.flow: asyncio.Future[Flow] = loop.create_future()
        self.over: asyncio.Future[bytes] = loop.create_future()
        self.heard = asyncio.Event()
        self._said = b""

    def opened(self, flow: Flow) -> None:
        """The far side has connected."""
        if self.flow.done():
            flow.reset()
            return
        self.flow.set_result(flow)
        if self.end is not None:
            self.end.opened(flow)

    def open_failed(self, failure: OpenFailure) -> None:
        """It could not."""
        if not self.flow.done():
            self.flow.set_exception(TunnelError(f"can't connect: {failure.name.lower()}"))
            self.flow.exception()  # perhaps nobody waits any more

    def data_received(self, data: bytes | memoryview) -> None:
        """Bytes from the far side."""
        self.heard.set()
        if isinstance(self.end, Sink):
            self.end.data_received(data)
        else:
            self._said = (self._said + bytes(data))[:64]

    def eof_received(self) -> None:
        """The far side is done."""
        if not self.over.done():
            self.over.set_result(self._said)

    def closed(self, *, reset: bool) -> None:
        """It is over."""
        self.heard.set()
        if self.end is not None:
            self.end.closed(reset=reset)
        if not self.over.done():
            self.over.set_exception(TunnelError("the tunnel broke meanwhile"))
            self.over.exception()  # as above

    def pause_writing(self) -> None:
        """The carrier has enough."""
        if self.end is not None:
            self.end.pause_writing()

    def resume_writing(self) -> None:
        """It takes more."""
        if self.end is not None:
            self.end.resume_writing()


@asynccontextmanager
async def open_flow(dialer: Dialer, host: str, port: int, told: Told[R]) -> AsyncIterator[Flow]:
    """A flow that is reset when the context is left. Raises TunnelError."""
    opening = dialer.open_tcp(host, port, _ORIGIN, told)
    try:
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            flow = await told.flow
    except TimeoutError as error:
        raise TunnelError(f"no connection within {_OPEN_TIMEOUT_S:g} s") from error
    except TunnelError as error:
        if host == SPEED_HOST:
            error.hint = "the shadow is older than this ktnet: use the image of its own version"
        raise
    finally:
        if not told.flow.done() or told.flow.cancelled():
            opening.cancel()
    try:
        yield flow
    finally:
        if told.end is not None:
            told.end.abort()
        flow.reset()


async def measure_download(dialer: Dialer, seconds: float) -> float:
    """Octets a second from the shadow, over so many seconds from the first octet on."""
    loop = asyncio.get_running_loop()
    sink = Sink(MOST_S)
    told: Told[Sink] = Told(sink)
    async with open_flow(dialer, SPEED_HOST, CHARGEN_PORT, told):
        await wait_heard(told)
        before, start_s = sink.taken_bytes, loop.time()
        await _wait_or_break(told, seconds)
        return (sink.taken_bytes - before) / (loop.time() - start_s)


async def measure_upload(dialer: Dialer, seconds: float) -> float:
    """Octets a second to the shadow: sent for so long, and timed until all of it has arrived."""
    loop = asyncio.get_running_loop()
    source = Source(MOST_S)
    told: Told[Source] = Told(source)
    start_s = loop.time()
    async with open_flow(dialer, SPEED_HOST, DISCARD_PORT, told):
        start_s = loop.time()
        await _wait_or_break(told, seconds)
        source.stop()
        try:
            async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                said = await told.over
        except TimeoutError as error:
            raise TunnelError("what was sent did not arrive in time") from error
        spent_s = loop.time() - start_s
    if not said.isdigit():
        raise TunnelError("the shadow does not say how much has arrived")
    return int(said) / spent_s


async def _wait_or_break(told: Told[R], seconds: float) -> None:
    """So long, or until the tunnel breaks: then it is raised."""
    done, _ = await asyncio.wait({told.over}, timeout=seconds)
    for each in done:
        each.result()


async def wait_heard(told: Told[R], timeout_s: float = _OPEN_TIMEOUT_S) -> None:
    """Until the first octet since `heard` was cleared. Raises TunnelError."""
    try:
        async with asyncio.timeout(timeout_s):
            await told.heard.wait()
    except TimeoutError as error:
        raise TunnelError(f"nothing came within {timeout_s:g} s") from error
    if told.over.done():
        told.over.result()


async def measure_round_trips(dialer: Dialer, is_enough: Callable[[int], bool]) -> list[float]:
    """Seconds of single octets to the shadow and back, one after the other, until so many are
    enough. At least one."""
    loop = asyncio.get_running_loop()
    told: Told[Sink] = Told()
    trips: list[float] = []
    async with open_flow(dialer, PROBE_HOST, 1, told) as flow:
        while not trips or not is_enough(len(trips)):
            told.heard.clear()
            sent_s = loop.time()
            flow.write(b"\0")
            await wait_heard(told)
            trips.append(loop.time() - sent_s)
            await asyncio.sleep(_PING_INTERVAL_S)
    return trips


async def measure_setups(dialer: Dialer, host: str, port: int, count: int) -> list[float]:
    """Seconds from asking for a connection to its being there, one after the other."""
    loop = asyncio.get_running_loop()
    spent = []
    for _ in range(count):
        told: Told[Sink] = Told()
        start_s = loop.time()
        async with open_flow(dialer, host, port, told):
            spent.append(loop.time() - start_s)
    return spent
