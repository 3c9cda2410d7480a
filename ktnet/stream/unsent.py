"""What the kernel takes from us and can't send yet."""

from __future__ import annotations

import asyncio
import contextlib
import socket

UNSENT_BYTES = 1024 * 1024
"""A query that comes now waits behind as much: two seconds at 4 Mbit/s, where a send buffer that
was made as large as the kernel does by itself (tcp(7), tcp_wmem: 4 MiB) holds it for eight, and a
resolver has given up. Less costs a fast path some of its rate: packets leave in pieces."""


def limit_unsent(transport: asyncio.BaseTransport) -> None:
    """Beyond what is on its way to the peer the socket takes that much and no more.

    Linux: Documentation/networking/ip-sysctl.rst, tcp_notsent_lowat. Without effect where a
    transport isn't on a TCP socket.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):  # of another family, or reset meanwhile
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
