"""Where a connection that has come in can go: a laptop, or the original pods."""

from __future__ import annotations

from typing import Protocol

from ktnet.stream.target import SocketOpening
from ktnet.wire.flow import Flow, OpenFailure, Opening, Receiver


class Destination(Protocol):
    """A laptop or the origin. Compared by identity."""

    def open(self, peer: tuple[str, int], receiver: Receiver) -> Opening:
        """A new connection to it on behalf of `peer` (address and port of the client)."""


class Origin:
    """The original pods, by the address of their Service."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def open(self, _peer: tuple[str, int], receiver: Receiver) -> Opening:
        """Dial it."""
        return SocketOpening(self._host, self._port, receiver)


class FailOpen:
    """A laptop while it is there, the origin while it is not.

    Only where its tunnel is down: a laptop that is there and refuses is what its user wants to see.
    """

    def __init__(self, laptop: Destination, origin: Destination) -> None:
        self._laptop = laptop
        self._origin = origin

    def open(self, peer: tuple[str, int], receiver: Receiver) -> Opening:
        """Dial the laptop, and then perhaps the origin."""
        return _FailOpenOpening(self._laptop, self._origin, peer, receiver)


class _FailOpenOpening:
    """Passes everything on to the receiver, but for the failure that is no reason to fail."""

    def __init__(
        self,
        laptop: Destination,
        origin: Destination,
        peer: tuple[str, int],
        receiver: Receiver,
    ) -> None:
        self._origin = origin
        self._peer = peer
        self._receiver = receiver
        self._current = laptop.open(peer, self)

    def cancel(self) -> None:
        """Give up."""
        self._current.cancel()

    def opened(self, flow: Flow) -> None:
        """The laptop has taken it."""
        self._receiver.opened(flow)

    def open_failed(self, failure: OpenFailure) -> None:
        """It has not."""
        if failure is OpenFailure.TUNNEL_DOWN:
            self._current = self._origin.open(self._peer, self._receiver)
        else:
            self._receiver.open_failed(failure)

    def data_received(self, data: bytes) -> None:
        """On to the receiver."""
        self._receiver.data_received(data)

    def eof_received(self) -> None:
        """On to the receiver."""
        self._receiver.eof_received()

    def closed(self, *, reset: bool) -> None:
        """On to the receiver."""
        self._receiver.closed(reset=reset)

    def pause_writing(self) -> None:
        """On to the receiver."""
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        """On to the receiver."""
        self._receiver.resume_writing()
