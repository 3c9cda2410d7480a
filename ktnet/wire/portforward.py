"""The protocol of a port-forward over WebSocket: `v4.channel.k8s.io`, without any I/O.

Each binary message begins with a byte that names its channel. Port number n (counted from 0 in
the order of the request's `ports` parameters) has two: 2n carries its bytes, 2n+1 the text of an
error, from the server only. The server's first message on each channel is the port, two bytes
little-endian. Messages of other kinds don't exist, nor does a half-close: the end of the
WebSocket is the only end (kubernetes/kubernetes, pkg/kubelet/portforward or, since 1.30,
staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go).

A client of ours asks for one port, so it knows channels 0 and 1 only.
"""

from __future__ import annotations

from dataclasses import dataclass

from ktnet.errors import RemoteProtocolError
from ktnet.wire.websocket import Control, FrameReader, Opcode, Piece

SUBPROTOCOL = "v4.channel.k8s.io"

DATA_PREFIX = b"\x00"
"""In front of every message of data: send it whole, a fragment would lose its channel."""

_DATA, _ERROR = 0, 1
_PORT_BYTES = 2
_ERROR_BYTES = 16 << 10
_ERROR_TEXT_LIMIT = 4096
"""Bytes of an error that are kept until it is whole, and characters that are shown: it ends up on
somebody's terminal."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The server's reason, in its own words; it closes the WebSocket after that."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pinged:
    """The server wants this back."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The server has said goodbye: nothing comes after that."""


@dataclass(frozen=True, slots=True)
class Garbled:
    """What came next the protocol doesn't allow: nothing can be read any more."""

    fault: str


Event = Failed | Pinged | Closed | Garbled


class ClientDecoder:
    """Reads what the server of a forward of one port says."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._frames = FrameReader()
        self._announced = [False, False]
        self._channel: int | None = None
        """Of the message that has begun."""
        self._text = bytearray()
        """What has come of a message that isn't data."""
        self._over = False

    @property
    def opened(self) -> bool:
        """Whether the port was named on both channels: the server takes data from now on."""
        return all(self._announced)

    def receive(self, data: memoryview) -> tuple[int, list[Event]]:
        """Take the next bytes of the connection apart, where they lie.

        The bytes from the pod are moved together at the front of `data`; returned are how many
        they are, and what else there was. Of what is no Pinged there is one, the last: it came
        behind those bytes, and what comes behind it is not looked at.
        """
        if self._over:
            return 0, []
        return self._receive(data)

    def _receive(self, data: memoryview) -> tuple[int, list[Event]]:
        size = 0
        events: list[Event] = []
        try:
            for piece in self._frames.feed(data):
                if isinstance(piece, Control):
                    self._take_control(piece, events)
                else:
                    size = self._take_piece(data, piece, size, events)
                if self._over:
                    break
        except RemoteProtocolError as error:
            self._over = True
            events.append(Garbled(error.message))
        return size, events

    def _take_piece(self, data: memoryview, piece: Piece, size: int, events: list[Event]) -> int:
        """Keep, or move behind the first `size` bytes; how many there are then."""
        kind, begin, end, _, ends = piece
        if kind is not Opcode.BINARY:
            raise RemoteProtocolError("the port-forward sent text where binary is agreed")
        if self._channel is None:
            begin = self._find_channel(data, begin, end, ends=ends)
        if self._channel == _DATA and self._announced[_DATA]:
            if begin < end and not self._announced[_ERROR]:
                raise RemoteProtocolError(
                    "the port-forward sent data before it named its port twice"
                )
            moved = size + end - begin
            data[size:moved] = data[begin:end]
            size = moved
        else:
            self._text += data[begin : min(end, begin + _ERROR_BYTES - len(self._text))]
        if ends:
            self._finish_message(events)
        return size

    def _find_channel(self, data: memoryview, begin: int, end: int, *, ends: bool) -> int:
        """Read the channel's byte where it has come; where the message goes on behind it."""
        if begin < end:
            channel = self._channel = data[begin]
            if channel not in {_DATA, _ERROR}:
                raise RemoteProtocolError(f"the port-forward sent on channel {channel}, unasked")
            return begin + 1
        if ends:
            raise RemoteProtocolError("the port-forward sent a message without a channel")
        return begin

    def _finish_message(self, events: list[Event]) -> None:
        channel, self._channel = self._channel, None
        assert channel is not None  # noqa: S101  (or _find_channel had refused it)
        if not self._announced[channel]:
            self._receive_port(channel, self._text)
        elif channel == _ERROR and self._text:
            events.append(Failed(_printable(self._text)))
            self._over = True
        self._text.clear()

    def _receive_port(self, channel: int, text: bytearray) -> None:
        if len(text) != _PORT_BYTES:
            raise RemoteProtocolError(
                f"the port-forward began channel {channel} with something else than its port"
            )
        port = int.from_bytes(text, "little")
        if port != self._port:
            raise RemoteProtocolError(
                f"the port-forward opened port {port} where {self._port} was asked for"
            )
        self._announced[channel] = True

    def _take_control(self, control: Control, events: list[Event]) -> None:
        if control.kind is Opcode.PING:
            events.append(Pinged(control.payload))
        elif control.kind is Opcode.CLOSE:
            events.append(Closed())
            self._over = True


def _printable(text: bytearray) -> str:
    """A server's text, fit for a terminal: one line, and nothing that a terminal would obey."""
    decoded = text.decode(errors="replace")[:_ERROR_TEXT_LIMIT]
    return "".join(c if c.isprintable() else " " for c in decoded).strip()
