"""Notices that this machine has other addresses than before: it is in another network, most likely.

By rtnetlink's own notices (rtnetlink(7)), for which no right is needed. Connections from an address
that is gone are dead, and nothing tells them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import NoReturn

RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x10, 0x100
RTM_NEWADDR, RTM_DELADDR = 20, 21

_NOTICE_BYTES = 65536
_SETTLED_S = 0.2
"""One address goes and another one comes: asked in between, nothing answers."""
_NLMSGHDR = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface index
_ALIGNMENT = 4


def parse_changes(data: bytes) -> set[int]:
    """The interfaces (by index) of which these notices tell that an address came or went: pure.

    What isn't shaped as the kernel's messages are ends the list.
    """
    changed = set()
    while len(data) >= _NLMSGHDR.size:
        length, kind, *_ = _NLMSGHDR.unpack_from(data)
        if not _NLMSGHDR.size <= length <= len(data):
            break
        if kind in (RTM_NEWADDR, RTM_DELADDR) and length >= _NLMSGHDR.size + _IFADDRMSG.size:
            changed.add(_IFADDRMSG.unpack_from(data, _NLMSGHDR.size)[4])
        data = data[(length + _ALIGNMENT - 1) & -_ALIGNMENT :]
    return changed


async def run_address_watch(own_link: str, on_change: Callable[[], Awaitable[None]]) -> NoReturn:
    """Call `on_change` when an address of a link other than `own_link` has come or gone."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as notices:
        notices.setblocking(False)
        notices.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        own = socket.if_nametoindex(own_link)
        while True:
            if await _has_changed(loop, notices, own):
                await asyncio.sleep(_SETTLED_S)
                await on_change()


async def _has_changed(loop: asyncio.AbstractEventLoop, notices: socket.socket, own: int) -> bool:
    try:
        data = await loop.sock_recv(notices, _NOTICE_BYTES)
    except OSError:  # ENOBUFS: so many came at once that some are lost
        return True
    return bool(parse_changes(data) - {own})
