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

import struct
from dataclasses import dataclass

from ktnet.errors import RemoteProtocolError

SUBPROTOCOL = "v4.channel.k8s.io"

DATA_PREFIX = b"\x00"
"""In front of every message of data: send it whole, a fragment would lose its channel."""

_DATA, _ERROR = 0, 1
_ERROR_TEXT_LIMIT = 4096
"""Characters of an error that are kept: it ends up on somebody's terminal."""
_PORT = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Opened:
    """The server has named the port on both channels: it takes data from now on."""

    port: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes from the pod; a view into the message, never empty."""

    payload: memoryview


@dataclass(frozen=True, slots=True)
class Failed:
    """The server's reason, in its own words; it closes the WebSocket after that."""

    reason: str


Event = Opened | Data | Failed


class ClientDecoder:
    """Reads what the server of a forward of one port says."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._announced = [False, False]

    @property
    def opened(self) -> bool:
        """Whether the port was named on both channels."""
        return all(self._announced)

    def receive_message(self, message: bytes) -> Event | None:
        """What a binary message means; None where nothing follows from it.

        Raises RemoteProtocolError for anything that the protocol does not allow.
        """
        if not message:
            raise RemoteProtocolError("the port-forward sent a message without a channel")
        channel = message[0]
        if channel not in {_DATA, _ERROR}:
            raise RemoteProtocolError(f"the port-forward sent on channel {channel}, unasked")
        if not self._announced[channel]:
            return self._receive_port(channel, message)
        if len(message) == 1:
            return None
        if channel == _ERROR:
            return Failed(_printable(message[1:]))
        if not self._announced[_ERROR]:
            raise RemoteProtocolError("the port-forward sent data before it named its port twice")
        return Data(memoryview(message)[1:])

    def receive_text(self) -> Event | None:
        """A text message: this subprotocol has none."""
        raise RemoteProtocolError("the port-forward sent text where only binary is agreed")

    def _receive_port(self, channel: int, message: bytes) -> Event | None:
        if len(message) != 1 + _PORT.size:
            raise RemoteProtocolError(
                f"the port-forward began channel {channel} with something else than its port"
            )
        (port,) = _PORT.unpack_from(message, 1)
        if port != self._port:
            raise RemoteProtocolError(
                f"the port-forward opened port {port} where {self._port} was asked for"
            )
        self._announced[channel] = True
        return Opened(port) if self.opened else None


def _printable(text: bytes) -> str:
    """A server's text, fit for a terminal: one line, and nothing that a terminal would obey."""
    decoded = text.decode(errors="replace")[:_ERROR_TEXT_LIMIT]
    return "".join(c if c.isprintable() else " " for c in decoded).strip()
