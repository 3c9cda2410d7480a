"""The TCP connection from the shadow to what a flow is meant for: dial it, then pass bytes.

`TargetSocket` and `TargetReceiver` stand between a socket of the pod and a flow of the tunnel:
bytes, the end of each half, a reset and "not so fast" go through in either direction.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import struct

from ktnet.wire.flow import Flow, OpenFailure

CONNECT_TIMEOUT_S = 32.0
"""Linux sends SYNs at 0, 1, 3, 7, 15 and 31 s (net.ipv4.tcp_syn_retries), the last one gets a
second."""

WRITE_BUFFER_BYTES = 256 * 1024
"""Unsent bytes for one target at which the tunnel is asked to wait: two packets."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds

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
    """The target could not be connected to. Stays within the shadow."""

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


async def open_target(host: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> TargetReceiver:
    """Connect to an address, or to the first that answers of a name's. TargetFailed otherwise."""
    sock = await connect_to_any(host, port, timeout_s)
    try:
        transport, target = await asyncio.get_running_loop().create_connection(
            TargetSocket, sock=sock
        )
    except OSError as error:
        sock.close()
        raise build_failure(error) from error
    except BaseException:
        sock.close()
        raise
    return TargetReceiver(target, transport)


async def connect_to_any(
    host: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S
) -> socket.socket:
    """A connected socket, non-blocking. TargetFailed where there is none to be had."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _connect_to_first(host, port)
    except TimeoutError as error:
        # Also what the kernel's own ETIMEDOUT arrives as.
        raise TargetFailed(OpenFailure.TIMED_OUT, "ETIMEDOUT") from error
    except OSError as error:
        raise build_failure(error) from error


async def _connect_to_first(host: str, port: int) -> socket.socket:
    last_error: OSError | None = None
    for family, address in await _resolve(host, port):
        try:
            return await _connect_to_one(family, address)
        except OSError as error:
            last_error = error
    raise last_error or socket.gaierror(socket.EAI_NONAME, "no address")


async def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    if not 0 < port <= 0xFFFF:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "no such port")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
        return [(family, (host, port))]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (UnicodeError, ValueError) as error:  # labels of over 63 bytes, NUL
        raise socket.gaierror(socket.EAI_NONAME, "not a name") from error
    return [(family, (str(address[0]), port)) for family, _, _, _, address in found]


async def _connect_to_one(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


class TargetSocket(asyncio.Protocol):
    """The socket's side: what the target does, the flow is told."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.flow: Flow | None = None
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; nothing is read before the flow is open."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (narrows the type)
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes from the target."""
        if self.flow is not None:
            self.flow.write(data)

    def eof_received(self) -> bool:
        """FIN from the target; True: go on sending to it."""
        if self.flow is not None:
            self.flow.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Our own close has come through, or (with `exc`) a reset or a time-out came."""
        self.gone = True
        if exc is not None and self.flow is not None:
            self.flow.reset()

    def pause_writing(self) -> None:
        """The target does not read fast enough."""
        if self.flow is not None:
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        if self.flow is not None:
            self.flow.resume_reading()

    def close(self) -> None:
        """Send what is left, then FIN."""
        if self.transport is not None and not self.gone:
            self.transport.close()

    def reset(self) -> None:
        """RST, at once."""
        if self.transport is None or self.gone:
            return
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # where the target has reset it meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()


class TargetReceiver:
    """The flow's side (a `ktnet.wire.flow.Receiver`): what the client does, the socket is told."""

    def __init__(self, target: TargetSocket, transport: asyncio.Transport) -> None:
        self._target = target
        self._transport = transport

    def opened(self, flow: Flow) -> None:
        """The client is told that the target is connected."""
        if self._target.gone:
            flow.reset()  # the target went away in between
        else:
            self._target.flow = flow
            self._transport.resume_reading()

    def open_failed(self, _failure: OpenFailure) -> None:
        """Does not come at this end: here is where opening fails."""

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._transport.write(data)

    def eof_received(self) -> None:
        """FIN from the client."""
        if not self._target.gone:
            self._transport.write_eof()

    def closed(self, *, reset: bool) -> None:
        """The flow is over."""
        self._target.flow = None
        if reset:
            self._target.reset()
        else:
            self._target.close()

    def pause_writing(self) -> None:
        """The client does not read fast enough, or the tunnel is full."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()


class EchoReceiver:
    """The target that answers for `PROBE_HOST`: sends back what comes."""

    def __init__(self) -> None:
        self._flow: Flow | None = None

    def opened(self, flow: Flow) -> None:
        """Ready to echo."""
        self._flow = flow

    def open_failed(self, _failure: OpenFailure) -> None:
        """Does not come at this end."""

    def data_received(self, data: bytes) -> None:
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
