"""Accepts connections for protocols of asyncio's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from ktnet.stream.accepting import Acceptor, listen


def open_acceptor(
    address: str,
    port: int,
    build_protocol: Callable[[], asyncio.BaseProtocol],
    tasks: asyncio.TaskGroup,
) -> Acceptor:
    """Listen on address:port (0: any free one); each connection gets a protocol.

    OSError where that is not possible.
    """
    loop = asyncio.get_running_loop()

    async def adopt(sock: socket.socket) -> None:
        try:
            await loop.connect_accepted_socket(build_protocol, sock)
        except OSError:
            sock.close()

    def accepted(sock: socket.socket, _peer: Any) -> None:
        tasks.create_task(adopt(sock))

    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    return Acceptor(listen(family, address, port), accepted)
