"""The TCP connection from the shadow to what a flow is meant for: dial it, then pass bytes
(`ktnet.stream.relay`)."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket

from ktnet.stream.relay import RelayedSocket, RelayReceiver
from ktnet.wire.flow import Flow, OpenFailure

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


async def open_target(host: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> RelayReceiver:
    """Connect to an address, or to the first that answers of a name's. TargetFailed otherwise."""
    sock = await connect_to_any(host, port, timeout_s)
    try:
        transport, target = await asyncio.get_running_loop().create_connection(
            RelayedSocket, sock=sock
        )
    except OSError as error:
        sock.close()
        raise build_failure(error) from error
    except BaseException:
        sock.close()
        raise
    return RelayReceiver(target, transport)


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
