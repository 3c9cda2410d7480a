"""Receiving for the data path where the byte stream is a plain TCP socket: past the transport,
which costs more for a packet than opening it does. Sending, and all ends, stay the transport's.
"""

from __future__ import annotations

import asyncio
import asyncio.selector_events
import os
import select
import socket

from ktnet.stream.batch import run_batch
from ktnet.stream.polling import ENDED, Poller, get_poller


class Intake:
    """Fills a protocol's buffer from a transport's socket."""

    def __init__(
        self, transport: asyncio.Transport, protocol: asyncio.BufferedProtocol, poller: Poller
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._poller = poller
        self._is_readable = False
        self._paused = False
        transport.pause_reading()
        # A descriptor of its own: the transport registers its when it has to wait for room.
        number = os.dup(transport.get_extra_info("socket").fileno())
        self._sock: socket.socket | None = socket.socket(fileno=number)
        poller.add(self._sock, self._handle)

    def pause_reading(self) -> None:
        """Take nothing more for now."""
        self._paused = True
        if self._sock is None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._paused = False
        if self._sock is None:
            self._transport.resume_reading()
        elif self._is_readable:
            self._read_later()

    def close(self) -> None:
        """The stream is gone."""
        if self._sock is not None:
            self._poller.close(self._sock)
            self._sock = None

    def _handle(self, events: int) -> None:
        if events & ENDED:
            self._hand_back()
        else:
            self._is_readable = True
            self._read()

    def _hand_back(self) -> None:
        """asyncio knows how a stream ends, and takes what comes before that, too."""
        self.close()
        if not self._paused:
            self._transport.resume_reading()

    def _read(self) -> None:
        if self._sock is None or self._paused or not self._is_readable:
            return
        view = memoryview(self._protocol.get_buffer(-1))
        try:
            count = self._sock.recv_into(view)
        except BlockingIOError:
            self._is_readable = False
            return
        except OSError:
            count = 0
        if not count:
            self._hand_back()
            return
        if count < len(view):
            self._is_readable = False
        else:
            self._read_later()
        self._protocol.buffer_updated(count)

    def _read_later(self) -> None:
        self._poller.loop.call_soon(run_batch, self._read)


def open_intake(transport: asyncio.Transport, protocol: asyncio.BufferedProtocol) -> Intake | None:
    """None where the stream is something else than a socket, or passes somebody else first."""
    if not hasattr(select, "epoll") or transport.get_protocol() is not protocol:
        return None
    if type(transport) is not getattr(asyncio.selector_events, "_SelectorSocketTransport", None):
        return None
    return Intake(transport, protocol, get_poller())
