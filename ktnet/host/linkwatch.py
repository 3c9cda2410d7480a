"""Notices that a link was set down or deleted: its routes are gone then, whatever is said of them.

By rtnetlink's own notices (rtnetlink(7)), for which no right is needed.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from typing import NoReturn

from ktnet.errors import HostNetworkError

RTMGRP_LINK = 1
RTM_NEWLINK, RTM_DELLINK = 16, 17
IFF_UP = 1
SIOCGIFFLAGS = 0x8913

_NOTICE_BYTES = 65536
_NLMSGHDR = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change mask
_ALIGNMENT = 4


def parse_notices(data: bytes) -> list[tuple[int, bool]]:
    """(interface index, whether it is there and up) of each notice about a link: pure.

    What isn't shaped as the kernel's messages are ends the list.
    """
    notices = []
    while len(data) >= _NLMSGHDR.size:
        length, kind, *_ = _NLMSGHDR.unpack_from(data)
        if not _NLMSGHDR.size <= length <= len(data):
            break
        if kind in (RTM_NEWLINK, RTM_DELLINK) and length >= _NLMSGHDR.size + _IFINFOMSG.size:
            _, _, index, flags, _ = _IFINFOMSG.unpack_from(data, _NLMSGHDR.size)
            notices.append((index, kind == RTM_NEWLINK and bool(flags & IFF_UP)))
        data = data[(length + _ALIGNMENT - 1) & -_ALIGNMENT :]
    return notices


async def run_link_watch(name: str) -> NoReturn:
    """Wait until the link isn't up any more, and raise HostNetworkError."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as notices:
        notices.setblocking(False)
        notices.bind((0, RTMGRP_LINK))
        try:
            index = socket.if_nametoindex(name)
            is_up = _is_up(name)
            while is_up:
                try:
                    data = await loop.sock_recv(notices, _NOTICE_BYTES)
                except OSError:  # ENOBUFS: so many came at once that some are lost
                    is_up = _is_up(name)
                else:
                    is_up = all(up for other, up in parse_notices(data) if other == index)
        except OSError:
            pass  # There is no link of that name.
    raise HostNetworkError(
        f"{name} was set down or deleted by somebody else",
        hint="its routes have gone with it; connect again",
    )


def _is_up(name: str) -> bool:
    """OSError where there is no such link (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = struct.pack("16sH14x", name.encode(), 0)
        answer = fcntl.ioctl(asking, SIOCGIFFLAGS, request)
    return bool(struct.unpack_from("H", answer, 16)[0] & IFF_UP)
