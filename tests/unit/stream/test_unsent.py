"""How much a socket takes that its peer has no room for."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct

import pytest

from ktnet.stream.unsent import UNSENT_BYTES, limit_unsent

SIOCOUTQNSD = 0x894B
"""Linux, sockios.h: bytes that are not sent yet."""

SO_SNDBUFFORCE = 32
"""socket(7); Python has no name for it."""

PIECE = bytes(64 * 1024)

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system has no such limit"
)


AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may have a send buffer above net.core.wmem_max"
)


@pytest.mark.parametrize("is_limited", [True, pytest.param(False, marks=AS_ROOT)])
def test_no_more_than_so_much_waits_in_the_kernel(is_limited: bool) -> None:
    async def scenario() -> int:
        with socket.create_server(("127.0.0.1", 0)) as server:
            # Said before it is dialled: what a window starts with.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, *server.getsockname()
            )
            peer, _ = server.accept()
            with peer:
                if is_limited:
                    limit_unsent(transport)
                return fill(transport.get_extra_info("socket").fileno())

    unsent = asyncio.run(scenario())
    if is_limited:
        assert unsent <= UNSENT_BYTES + len(PIECE)
    else:
        assert unsent > 2 * UNSENT_BYTES


def fill(number: int) -> int:
    """Sends until nothing more is taken; what of it isn't on its way."""
    with socket.socket(fileno=number) as sock:
        option = SO_SNDBUFFORCE if os.geteuid() == 0 else socket.SO_SNDBUF
        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        while True:
            try:
                sock.send(PIECE)
            except BlockingIOError:
                waiting: int = struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQNSD, bytes(4)))[0]
                sock.detach()
                return waiting


def test_what_is_no_tcp_socket_is_left_alone() -> None:
    async def scenario() -> None:
        here, there = socket.socketpair()
        with there:
            _, writer = await asyncio.open_connection(sock=here)
            limit_unsent(writer.transport)
            writer.close()

    asyncio.run(scenario())
