"""How a TCP connection is cut so that the other end is told: RST, at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

_AT_ONCE = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds


def cut_on_close(sock: socket.socket) -> None:
    """What it still had to send is thrown away when it is closed (socket(7), SO_LINGER)."""
    with contextlib.suppress(OSError):  # where the other side has reset it meanwhile
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


def reset(transport: asyncio.Transport) -> None:
    """Cut it now."""
    cut_on_close(transport.get_extra_info("socket"))
    transport.abort()
