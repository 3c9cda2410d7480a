"""Two flows as one connection: bytes, both halves' ends, pressure and resets go through."""

from __future__ import annotations

from collections.abc import Callable

from ktnet.wire.flow import Flow, OpenFailure, Opening, Receiver

Open = Callable[[Receiver], Opening]
"""Begins to open a connection for this receiver."""


class Half:
    """What one side does, the other is told (a `ktnet.wire.flow.Receiver`)."""

    takes_views = True

    def __init__(self) -> None:
        self.flow: Flow | None = None
        self.other: Half | None = None

    def opened(self, flow: Flow) -> None:
        """Nothing is owed to anybody yet."""
        self.flow = flow

    def open_failed(self, _failure: OpenFailure) -> None:
        """Doesn't come where both are open."""

    def data_received(self, data: bytes | memoryview) -> None:
        """Goes on. (Not by `_there`: all bytes pass here.)"""
        if self.other is not None and (there := self.other.flow) is not None:
            there.write(data)

    def eof_received(self) -> None:
        """This direction is over, the other may go on."""
        if (there := self._there()) is not None:
            there.write_eof()

    def closed(self, *, reset: bool) -> None:
        """In an orderly way only when both directions are over, so the other is closed as well."""
        self.flow = None
        there = self._there()
        if there is not None and reset:
            there.reset()

    def pause_writing(self) -> None:
        """This side takes no more."""
        if (there := self._there()) is not None:
            there.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        if (there := self._there()) is not None:
            there.resume_reading()

    def _there(self) -> Flow | None:
        return self.other.flow if self.other is not None else None


def join(one: Flow, two: Flow) -> tuple[Half, Half]:
    """Both open: from now on each gets what the other sends. Returns the receiver of each."""
    here, there = Half(), Half()
    here.flow, there.flow = one, two
    here.other, there.other = there, here
    return here, there


class Passage(Half):
    """The client's half of a connection whose other half is yet to be opened."""

    def __init__(self, client: Flow, open_far: Open) -> None:
        """What the client sends meanwhile waits in the carrier, but for what was read already."""
        super().__init__()
        self.flow = client
        self._early: list[bytes] = []
        self._ended_early = False
        far = _Far(self)
        self.other, far.other = far, self
        client.pause_reading()
        self._opening = open_far(far)

    def data_received(self, data: bytes | memoryview) -> None:
        """Early bytes are kept; the client is paused, so they are few."""
        if self.other is not None and (there := self.other.flow) is not None:
            there.write(data)
        else:
            self._early.append(bytes(data))

    def eof_received(self) -> None:
        """Its end comes behind them."""
        if self._there() is None:
            self._ended_early = True
        else:
            super().eof_received()

    def closed(self, *, reset: bool) -> None:
        """The client has gone."""
        if self._there() is None:
            self._opening.cancel()
        super().closed(reset=reset)

    def far_failed(self, _failure: OpenFailure) -> None:
        """There is no other side: to the client, that is a reset."""
        if self.flow is not None:
            self.flow.reset()

    def far_opened(self, flow: Flow) -> None:
        """Everything may flow."""
        for data in self._early:
            flow.write(data)
        self._early.clear()
        if self._ended_early:
            flow.write_eof()
        if self.flow is not None:
            self.flow.resume_reading()


class _Far(Half):
    def __init__(self, passage: Passage) -> None:
        super().__init__()
        self._passage = passage

    def opened(self, flow: Flow) -> None:
        super().opened(flow)
        self._passage.far_opened(flow)

    def open_failed(self, failure: OpenFailure) -> None:
        self._passage.far_failed(failure)


class Near(Half):
    """The half of a connection that is open already, and isn't read from yet."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow
        self.other = self.far = _FarOfNear(self)


class _FarOfNear(Half):
    """What is to be the receiver of the flow that is being opened for it."""

    def __init__(self, near: Half) -> None:
        super().__init__()
        self.other = near

    def opened(self, flow: Flow) -> None:
        super().opened(flow)
        if (near := self._there()) is not None:
            near.resume_reading()
        else:
            flow.reset()  # it went away in between
