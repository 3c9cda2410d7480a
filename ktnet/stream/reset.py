"""How a TCP connection is cut so that the other end is told: RST, at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

_AT_ONCE = struct.pack("ii", 1, 0)  # struct linger: on, zero seconds


def reset(transport: asyncio.Transport) -> None:
    """What it still had to send is thrown away (socket(7), SO_LINGER)."""
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # where the other side has reset it meanwhile
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
