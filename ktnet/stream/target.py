"""The TCP connection to what a flow is meant for: dials it, and says why where that fails."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ktnet.stream.batch import call_soon
from ktnet.stream.joining import Near
from ktnet.stream.polledflow import PolledFlow
from ktnet.stream.polling import BROKEN, OUT, get_poller
from ktnet.wire.flow import Flow, OpenFailure, Receiver

CONNECT_TIMEOUT_S = 32.0
"""Linux sends SYNs at 0, 1, 3, 7, 15 and 31 s (net.ipv4.tcp_syn_retries), the last one gets a
second."""

_FAILURES = {
    errno.ECONNREFUSED: OpenFailure.REFUSED,
    errno.ECONNRESET: OpenFailure.REFUSED,  # by a RST right behind the SYN-ACK
    errno.EHOSTUNREACH: OpenFailure.HOST_UNREACHABLE,
    errno.EHOSTDOWN: OpenFailure.HOST_UNREACHABLE,
    errno.ENETUNREACH: OpenFailure.NETWORK_UNREACHABLE,
    errno.ENETDOWN: OpenFailure.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: OpenFailure.NETWORK_UNREACHABLE,  # a pod without IPv6
    errno.ETIMEDOUT: OpenFailure.TIMED_OUT,
    errno.EACCES: OpenFailure.PROHIBITED,
    errno.EPERM: OpenFailure.PROHIBITED,
    errno.EINVAL: OpenFailure.NETWORK_UNREACHABLE,  # an address that no socket connects to
    errno.EMFILE: OpenFailure.SHORTAGE,
    errno.ENFILE: OpenFailure.SHORTAGE,
    errno.ENOBUFS: OpenFailure.SHORTAGE,
    errno.ENOMEM: OpenFailure.SHORTAGE,
    errno.EAGAIN: OpenFailure.SHORTAGE,
    errno.EADDRNOTAVAIL: OpenFailure.SHORTAGE,
}


class TargetFailed(Exception):
    """The target could not be connected to. Stays at this end."""

    def __init__(self, failure: OpenFailure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason


def build_failure(error: OSError) -> TargetFailed:
    """What a failed connect means for the flow."""
    if isinstance(error, socket.gaierror):
        return TargetFailed(OpenFailure.UNKNOWN_NAME, error.strerror or "name not found")
    number = error.errno or 0
    failure = _FAILURES.get(number, OpenFailure.HOST_UNREACHABLE)
    return TargetFailed(failure, errno.errorcode.get(number, type(error).__name__))


Told = Callable[[PolledFlow | TargetFailed], object]


class Dialling:
    """A TCP connection to an address, or to the first that answers of a name's.

    `told` hears how it went, in a later call; it may be given up until then.
    """

    def __init__(self, host: str, port: int, timeout_s: float, told: Told) -> None:
        self._poller = get_poller()
        self._told: Told | None = told
        self._port = port
        self._addresses: deque[tuple[int, str]] = deque()
        self._sock: socket.socket | None = None
        self._error: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
        self._timer = self._poller.loop.call_later(timeout_s, self._time_out)
        if not 0 < port <= 0xFFFF:
            self._error = ConnectionRefusedError(errno.ECONNREFUSED, "no such port")
        elif (family := find_family(host)) is not None:
            self._addresses.append((family, host))
        else:
            self._resolve(host)
            return
        self._try_next()

    def cancel(self) -> None:
        """Give up: nobody is told any more."""
        self._told = None
        self._timer.cancel()
        self._drop()

    def _resolve(self, host: str) -> None:
        asked = self._poller.loop.run_in_executor(
            None, partial(socket.getaddrinfo, host, self._port, type=socket.SOCK_STREAM)
        )
        asked.add_done_callback(self._resolved)

    def _resolved(self, asked: asyncio.Future[Any]) -> None:
        if asked.cancelled() or self._told is None:
            return
        error = asked.exception()
        if error is None:
            self._addresses += ((family, str(to[0])) for family, _, _, _, to in asked.result())
        elif isinstance(error, OSError):
            self._error = error
        elif isinstance(error, UnicodeError | ValueError):  # labels of over 63 bytes, NUL
            self._error = socket.gaierror(socket.EAI_NONAME, "not a name")
        else:
            raise error
        self._try_next()

    def _try_next(self) -> None:
        while self._addresses:
            family, address = self._addresses.popleft()
            try:
                self._connect(family, address)
            except OSError as error:
                self._error = error
                self._drop()
            else:
                return
        self._tell(build_failure(self._error))

    def _connect(self, family: int, address: str) -> None:
        # Without a timeout from the start: that spares a system call.
        self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = self._sock.connect_ex((address, self._port))
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, os.strerror(number))
        self._poller.add(self._sock, self._handle, writing=True)

    def _handle(self, events: int) -> None:
        assert self._sock is not None  # noqa: S101  (it is what there are events of)
        if events & BROKEN:
            number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._error = OSError(number, os.strerror(number))
            self._drop()
            self._try_next()
        elif events & OUT:
            sock, self._sock = self._sock, None
            flow = PolledFlow(sock, self._poller)
            self._poller.hand_over(sock, flow.handle)
            if events & ~OUT:  # it speaks first
                flow.handle(events & ~OUT)
            self._tell(flow)

    def _time_out(self) -> None:
        self._drop()
        self._tell(TargetFailed(OpenFailure.TIMED_OUT, "ETIMEDOUT"))

    def _drop(self) -> None:
        if self._sock is not None:
            self._poller.close(self._sock)
            self._sock = None

    def _tell(self, result: PolledFlow | TargetFailed) -> None:
        self._timer.cancel()
        call_soon(self._deliver, result)

    def _deliver(self, result: PolledFlow | TargetFailed) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(result)
        elif isinstance(result, PolledFlow):
            result.reset()


def relay(flow: PolledFlow) -> Receiver:
    """Who is to be told what comes by the tunnel: all of it goes to the target, and back."""
    near = Near(flow)
    flow.attach(near)
    return near.far


async def connect_target(host: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> PolledFlow:
    """Connect, and wait for that. TargetFailed where it fails."""
    answer: asyncio.Future[PolledFlow | TargetFailed] = asyncio.get_running_loop().create_future()
    dialling = Dialling(host, port, timeout_s, answer.set_result)
    try:
        result = await answer
    except asyncio.CancelledError:
        dialling.cancel()
        if not answer.cancelled() and isinstance(late := answer.result(), PolledFlow):
            late.reset()
        raise
    if isinstance(result, TargetFailed):
        raise result
    return result


class SocketOpening:
    """Dials a target for one receiver (a `ktnet.wire.flow.Opening`)."""

    def __init__(
        self, host: str, port: int, receiver: Receiver, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> None:
        self._receiver = receiver
        self._dialling = Dialling(host, port, timeout_s, self._told)

    def cancel(self) -> None:
        """Give up."""
        self._dialling.cancel()

    def _told(self, result: PolledFlow | TargetFailed) -> None:
        if isinstance(result, TargetFailed):
            self._receiver.open_failed(result.failure)
            return
        result.attach(self._receiver)
        result.resume_reading()
        self._receiver.opened(result)


def find_family(host: str) -> socket.AddressFamily | None:
    """Of an address; None where it is none."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family
    return None


class EchoReceiver:
    """The target that answers for `PROBE_HOST`: sends back what comes."""

    takes_views = True

    def __init__(self) -> None:
        self._flow: Flow | None = None

    def opened(self, flow: Flow) -> None:
        """Ready to echo."""
        self._flow = flow

    def open_failed(self, _failure: OpenFailure) -> None:
        """Does not come at this end."""

    def data_received(self, data: bytes | memoryview) -> None:
        """Send it back."""
        if self._flow is not None:
            self._flow.write(data)

    def eof_received(self) -> None:
        """End as well."""
        if self._flow is not None:
            self._flow.write_eof()

    def closed(self, *, reset: bool) -> None:
        """Over."""
        self._flow = None

    def pause_writing(self) -> None:
        """The client does not take its echo: take no more from it."""
        if self._flow is not None:
            self._flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if self._flow is not None:
            self._flow.resume_reading()
