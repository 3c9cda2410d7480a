"""What measures a tunnel's throughput: one end sends as fast as it goes, the other takes it.

The same at both ends; the shadow's are reached as `SPEED_HOST`, and end by themselves after
`MOST_S`, whatever the client does.
"""

from __future__ import annotations

import asyncio
import os

from ktnet.wire.flow import Flow, OpenFailure
from ktnet.wire.shadow import CHARGEN_PORT, DISCARD_PORT

MOST_S = 60.0
"""Of one measurement."""

BLOCK_BYTES = 64 * 1024
_BLOCKS_A_TURN = 4
"""Written in one turn of the loop; pauses are told between turns."""


class _End:
    """What both have in common: a flow that ends in time."""

    takes_views = True

    def __init__(self, most_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._most_s = most_s
        self._timer: asyncio.TimerHandle | None = None
        self._flow: Flow | None = None

    def opened(self, flow: Flow) -> None:
        """It begins."""
        self._flow = flow
        self._timer = self._loop.call_later(self._most_s, self.abort)

    def open_failed(self, _failure: OpenFailure) -> None:
        """Does not come at the shadow's end."""

    def data_received(self, data: bytes | memoryview) -> None:
        """Bytes from the other end."""

    def eof_received(self) -> None:
        """The other end sends no more."""

    def closed(self, *, reset: bool) -> None:
        """Over."""
        self._flow = None
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """The carrier has enough."""

    def resume_writing(self) -> None:
        """It takes more."""

    def abort(self) -> None:
        """Tear it down, whatever is on its way."""
        flow = self._flow
        self.closed(reset=True)
        if flow is not None:
            flow.reset()


class Source(_End):
    """Sends until it is told to stop."""

    def __init__(self, most_s: float = MOST_S) -> None:
        super().__init__(most_s)
        self._block = os.urandom(BLOCK_BYTES)
        self._is_paused = False
        self._is_stopped = False
        self._is_due = False

    def opened(self, flow: Flow) -> None:
        """Begin to send."""
        super().opened(flow)
        self._send_soon()

    def stop(self) -> None:
        """Send no more; what was sent still arrives."""
        if not self._is_stopped:
            self._is_stopped = True
            if self._flow is not None:
                self._flow.write_eof()

    def eof_received(self) -> None:
        """Enough."""
        self.stop()

    def pause_writing(self) -> None:
        """Wait."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._send_soon()

    def _send_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_due = False
        for _ in range(_BLOCKS_A_TURN):
            if self._flow is None or self._is_paused or self._is_stopped:
                return
            self._flow.write(self._block)
        self._send_soon()


class Sink(_End):
    """Takes what comes, and at its end says how much that was: octets, in decimal."""

    def __init__(self, most_s: float = MOST_S) -> None:
        super().__init__(most_s)
        self.taken_bytes = 0

    def data_received(self, data: bytes | memoryview) -> None:
        """Count it, and drop it."""
        self.taken_bytes += len(data)

    def eof_received(self) -> None:
        """That was all."""
        if self._flow is not None:
            self._flow.write(str(self.taken_bytes).encode())
            self._flow.write_eof()


def build_speed_end(port: int) -> Source | Sink | None:
    """The shadow's end for a flow to that port of `SPEED_HOST`; None: there is none."""
    if port == CHARGEN_PORT:
        return Source()
    return Sink() if port == DISCARD_PORT else None
