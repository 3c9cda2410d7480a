"""A router between flows that keep what it sends: an origin, a laptop marked `version: alice`."""

from __future__ import annotations

from typing import Any

from ktnet.shadow.router.table import Table


class FakeFlow:
    """What the router sends one way."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.ended = False

    def write(self, data: bytes | memoryview) -> None:
        assert not self.ended
        self.sent += data

    def write_eof(self) -> None:
        self.ended = True

    def reset(self) -> None:
        self.ended = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def cancel(self) -> None: ...


class FakeDestination:
    """Opens at once; keeps each connection."""

    def __init__(self) -> None:
        self.connections: list[tuple[FakeFlow, Any]] = []
        self._new: list[Any] = []

    def open(self, _peer: tuple[str, int], receiver: Any) -> FakeFlow:
        flow = FakeFlow()
        self.connections.append((flow, receiver))
        self._new.append((receiver, flow))
        return flow

    def settle(self) -> None:
        while self._new:
            receiver, flow = self._new.pop()
            receiver.opened(flow)


class World:
    def __init__(self, kind: Any) -> None:
        self.origin, self.laptop, self.client = FakeDestination(), FakeDestination(), FakeFlow()
        self.table = Table(self.origin)
        self.table.add("version", "alice", self.laptop)
        self.router = kind(self.client, self.table, ("10.0.0.1", 1), lambda *_: None)

    def feed(self, data: bytes, step: int) -> None:
        for start in range(0, len(data), step):
            self.router.data_received(data[start : start + step])
            self.origin.settle()
            self.laptop.settle()

    def answer(self, data: bytes) -> None:
        for destination in (self.origin, self.laptop):
            for flow, receiver in list(destination.connections):
                if not flow.ended:
                    receiver.data_received(data)
            destination.settle()

    def fall_silent(self) -> None:
        """The laptop does, and its mark's requests go to the origin."""
        self.table.remove("version", "alice", self.laptop)
        for _, receiver in list(self.laptop.connections):
            receiver.fall_silent()
        self.origin.settle()
