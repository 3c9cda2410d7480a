"""A connected TCP socket as a flow (`ktnet.wire.flow`), without asyncio's transports: what is
written goes to the kernel in the same call, what comes is read where the event arrives.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque

from ktnet.stream.batch import call_soon, run_batch
from ktnet.stream.polling import BROKEN, ENDED, IN, OUT, Poller
from ktnet.stream.reset import cut_on_close
from ktnet.wire.flow import Receiver

HIGH_BYTES = 256 * 1024
"""Unsent bytes at which the near side is asked to wait: two packets."""

LOW_BYTES = 64 * 1024
"""Unsent bytes at which it may go on."""


class PolledFlow:
    """Bytes, both halves' ends and resets of a socket, for one receiver.

    Nothing is read before the first `resume_reading`.
    """

    def __init__(self, sock: socket.socket, poller: Poller) -> None:
        """`sock` doesn't block, and is either known to the poller or yet to be (`register`)."""
        self._sock = sock
        self._poller = poller
        self._receiver: Receiver | None = None
        self._takes_views = False
        self._watches_room = True
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._has_asked_to_wait = False
        self._paused = True
        self._is_readable = False
        self._has_end = False
        """Behind what can be read there is an end or an error: a short read isn't the last."""
        self._read_due = False
        self._eof_sent = False
        self._eof_received = False
        self._over = False

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """The socket's other end, and its own; None where it is closed already."""
        try:
            there, here = self._sock.getpeername(), self._sock.getsockname()
        except OSError:
            return None
        return (there[0], there[1]), (here[0], here[1])

    def register(self) -> None:
        """From now on the kernel tells."""
        self._watches_room = False
        self._poller.add(self._sock, self.handle)

    def attach(self, receiver: Receiver) -> None:
        """This one is to hear what the other side does; of its own flow it is told nothing."""
        self._receiver = receiver
        self._takes_views = getattr(receiver, "takes_views", False)

    # -- what the kernel says ------------------------------------------------------------------

    def handle(self, events: int) -> None:
        """Something has changed."""
        if events & OUT and self._unsent:
            self._send_unsent()
        if self._over or self._eof_received or not events & (IN | ENDED):
            return
        self._is_readable = True
        self._has_end = self._has_end or bool(events & ENDED)
        if not self._paused:
            self._read()
        elif events & BROKEN and not self._has_unread():
            self._fail()

    def _has_unread(self) -> bool:
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _read(self) -> None:
        self._read_due = False
        poller = self._poller
        while self._is_readable and not (self._paused or self._over):
            room = poller.find_room()
            try:
                count = self._sock.recv_into(room)
            except BlockingIOError:
                self._is_readable = False
                return
            except OSError:
                self._fail()
                return
            if not count:
                self._end_reading()
                return
            if count < len(room) and not self._has_end:
                self._is_readable = False
            assert self._receiver is not None  # noqa: S101  (who has it read has attached one)
            data = poller.scratch.take(count)
            self._receiver.data_received(data if self._takes_views else bytes(data))  # type: ignore[arg-type]
            if count == len(room):
                # There may be more, but others have something as well.
                self._read_due = True
                poller.loop.call_soon(run_batch, self._read)
                return

    def _end_reading(self) -> None:
        self._is_readable = False
        self._eof_received = True
        if self._receiver is not None:
            self._receiver.eof_received()
        if self._eof_sent and not self._unsent:
            self._end()

    def _send_unsent(self) -> None:
        try:
            while self._unsent:
                view = self._unsent[0]
                count = self._sock.send(view)
                self._unsent_bytes -= count
                if count == len(view):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = view[count:]
        except BlockingIOError:
            pass
        except OSError:
            self._fail()
            return
        if not self._unsent and self._eof_sent:
            self._send_fin()
        if self._has_asked_to_wait and self._unsent_bytes <= LOW_BYTES and not self._over:
            self._has_asked_to_wait = False
            if self._receiver is not None:
                self._receiver.resume_writing()

    # -- what the near side says ---------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Send, or keep a copy of what the kernel doesn't take."""
        if self._over or self._eof_sent:
            return
        if not self._unsent:
            try:
                count = self._sock.send(data)
            except BlockingIOError:
                count = 0
            except OSError:
                self._fail()
                return
            if count == len(data):
                return
            data = data[count:]
            if not self._watches_room:
                self._watches_room = True
                self._poller.watch_room(self._sock)
        self._unsent.append(memoryview(bytes(data)))
        self._unsent_bytes += len(data)
        if self._unsent_bytes > HIGH_BYTES and not self._has_asked_to_wait:
            self._has_asked_to_wait = True
            if self._receiver is not None:
                self._receiver.pause_writing()

    def write_eof(self) -> None:
        """Send FIN behind what was written."""
        if self._over or self._eof_sent:
            return
        self._eof_sent = True
        if not self._unsent:
            self._send_fin()

    def _send_fin(self) -> None:
        if self._eof_received:
            self._end()
        else:
            # Where the other side has reset it meanwhile, an event says so.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST, at once; the receiver hears nothing more."""
        if self._over:
            return
        cut_on_close(self._sock)
        self._close()

    def pause_reading(self) -> None:
        """Leave what comes in the kernel, and then with its sender."""
        self._paused = True

    def resume_reading(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            if self._is_readable and not self._read_due:
                self._read_due = True
                call_soon(self._read)

    # -- the end -------------------------------------------------------------------------------

    def _end(self) -> None:
        """Both halves are over. (Closing sends the FIN that hasn't been sent.)"""
        self._close()
        call_soon(self._tell_end, False)

    def _fail(self) -> None:
        """The other side has reset it, or is out of reach."""
        if not self._over:
            self._close()
            call_soon(self._tell_end, True)

    def _tell_end(self, reset: bool) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(reset=reset)

    def _close(self) -> None:
        self._over = True
        self._unsent.clear()
        self._unsent_bytes = 0
        self._poller.close(self._sock)
