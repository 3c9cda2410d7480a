"""One byte to the shadow and back: shows that the whole path works, and how long it is."""

from __future__ import annotations

import asyncio

from ktnet.errors import TunnelError
from ktnet.wire.flow import Flow, OpenFailure


class Probe:
    """The receiver of a flow to `PROBE_HOST`, which the shadow echoes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[Flow] = self._loop.create_future()
        self._echoed: asyncio.Future[None] = self._loop.create_future()

    async def measure(self) -> float:
        """Seconds from a byte's sending to its echo. TunnelError where there is none."""
        flow = await self._opened
        sent_at = self._loop.time()
        flow.write(b"\0")
        await self._echoed
        return self._loop.time() - sent_at

    def close(self) -> None:
        """Close the flow where it is open."""
        if self._opened.done() and not self._opened.cancelled() and not self._opened.exception():
            self._opened.result().reset()

    def opened(self, flow: Flow) -> None:
        """The shadow is there."""
        if not self._opened.done():
            self._opened.set_result(flow)
        else:
            flow.reset()

    def open_failed(self, failure: OpenFailure) -> None:
        """It is not, or it does not know the probe."""
        if not self._opened.done():
            self._opened.set_exception(TunnelError(f"the shadow gives no echo: {failure.name}"))
            self._opened.exception()  # perhaps nobody measures any more

    def data_received(self, data: bytes) -> None:
        """The echo."""
        if not self._echoed.done():
            self._echoed.set_result(None)

    def eof_received(self) -> None:
        """The shadow does not do that by itself."""

    def closed(self, *, reset: bool) -> None:
        """The tunnel broke."""
        if not self._echoed.done():
            self._echoed.set_exception(TunnelError("the tunnel broke before the echo came"))
            self._echoed.exception()  # as above

    def pause_writing(self) -> None:
        """One byte always fits."""

    def resume_writing(self) -> None:
        """One byte always fits."""
