"""UDP: a connected socket for each pair of ends, so that what the network says comes back too."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

from ktnet.gateway.dialer import Networks
from ktnet.wire.icmp import Unreachable, build_unreachable
from ktnet.wire.ipv4 import (
    HEADER_BYTES,
    PROTOCOL_ICMP,
    PROTOCOL_UDP,
    Ipv4Packet,
    build_ipv4_header,
    format_ipv4,
)
from ktnet.wire.udp import MAX_PAYLOAD_BYTES, build_udp, parse_udp
from ktnet.wire.vnet import PLAIN_VNET_HEADER

Write = Callable[[bytes], None]
"""Gives a frame to the TUN."""

IDLE_S = 120.0
"""A pair that is silent for so long is forgotten (RFC 4787 section 4.3)."""

MAX_PAIRS = 256
"""A descriptor each; beyond, the one that has been silent longest makes room."""

PACKETS_PER_TURN = 32

_CODES = {
    errno.ECONNREFUSED: Unreachable.PORT,
    errno.EHOSTUNREACH: Unreachable.HOST,
    errno.ENETUNREACH: Unreachable.NETWORK,
    errno.EACCES: Unreachable.PROHIBITED,
    errno.EPERM: Unreachable.PROHIBITED,
}

Key = tuple[bytes, int, bytes, int]
"""Application's address and port, the other end's address and port."""


class Datagrams:
    """Carries what isn't for the cluster; `ktnet.capture` hands packets over."""

    def __init__(self, cluster: Networks) -> None:
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._pairs: dict[Key, _Pair] = {}
        """The most silent first."""
        self._timer = self._loop.call_later(IDLE_S / 4, self._forget_idle)

    def packet_received(self, packet: Ipv4Packet, write: Write) -> bool:
        """False where it isn't carried. Raises RemoteProtocolError for what is no UDP."""
        if IPv4Address(packet.destination) in self._cluster:
            return False
        datagram = parse_udp(packet.payload)
        key = (
            *(packet.source, datagram.source_port),
            *(packet.destination, datagram.destination_port),
        )
        pair = self._pairs.pop(key, None)
        if pair is None:
            if len(self._pairs) >= MAX_PAIRS:
                self._pairs.pop(next(iter(self._pairs))).close()
            try:
                pair = _Pair(key, write)
            except OSError as error:
                _refuse(packet, error, write)
                return True
        self._pairs[key] = pair
        pair.send(packet, datagram.payload)
        return True

    def close(self) -> None:
        """Close all sockets."""
        self._timer.cancel()
        for pair in self._pairs.values():
            pair.close()
        self._pairs.clear()

    def _forget_idle(self) -> None:
        limit_s = self._loop.time() - IDLE_S
        for key, pair in list(self._pairs.items()):
            if pair.last_s < limit_s:
                del self._pairs[key]
                pair.close()
        self._timer = self._loop.call_later(IDLE_S / 4, self._forget_idle)


class _Pair:
    def __init__(self, key: Key, write: Write) -> None:
        self._key = key
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._last_packet = b""
        self.last_s = self._loop.time()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect((format_ipv4(key[2]), key[3]))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._read)

    def send(self, packet: Ipv4Packet, payload: memoryview) -> None:
        self.last_s = self._loop.time()
        self._last_packet = bytes(packet.whole[: HEADER_BYTES + 8])
        try:
            self._socket.send(payload)
        except BlockingIOError:
            return  # as lost as in a full queue
        except OSError as error:
            _refuse(packet, error, self._write)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(PACKETS_PER_TURN):
            try:
                payload = self._socket.recv(MAX_PAYLOAD_BYTES)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error about what was sent
                _tell(self._last_packet, self._key, error, self._write)
                return
            self.last_s = self._loop.time()
            here, here_port, there, there_port = self._key
            datagram = build_udp(there, there_port, here, here_port, payload)
            header = build_ipv4_header(there, here, PROTOCOL_UDP, len(datagram))
            self._write(PLAIN_VNET_HEADER + header + datagram)


def _refuse(packet: Ipv4Packet, error: OSError, write: Write) -> None:
    key = (packet.source, 0, packet.destination, 0)
    _tell(bytes(packet.whole[: HEADER_BYTES + 8]), key, error, write)


def _tell(quoted: bytes, key: Key, error: OSError, write: Write) -> None:
    code = _CODES.get(error.errno or 0)
    if code is None:
        return
    message = build_unreachable(code, quoted)
    header = build_ipv4_header(key[2], key[0], PROTOCOL_ICMP, len(message))
    write(PLAIN_VNET_HEADER + header + message)


@asynccontextmanager
async def open_datagrams(cluster: Networks) -> AsyncIterator[Datagrams]:
    """Carry UDP that isn't for `cluster` until the context is left."""
    datagrams = Datagrams(cluster)
    try:
        yield datagrams
    finally:
        datagrams.close()
