"""Whether something listens on a port: of this machine by the kernel's list, of another by asking.

Nobody is knocked at here: an application would log a connection that says nothing, every second.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TextIO

LOOK_INTERVAL_S = 0.25
ASK_INTERVAL_S = 1.0
ASK_TIMEOUT_S = 2.0

_TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
"""Of this process's network namespace, proc_pid_net(5)."""

_LISTENING = "0A"
"""TCP_LISTEN of include/net/tcp_states.h."""

Address = IPv4Address | IPv6Address


class LocalPort:
    """A port, and whether something listens there by now."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.is_listening = False
        self._changed = asyncio.Event()

    async def look(self) -> bool:
        """Whether something listens there at this moment."""
        addresses = await _resolve(self.host, self.port)
        own = [address for address in addresses if _is_own(address)]
        if own:
            return any(_is_taken(address, self.port) for address in own)
        return await _ask(self.host, self.port)

    async def run_watch(self) -> None:
        """Keep `is_listening` true to what is, until cancelled."""
        addresses = await _resolve(self.host, self.port)
        interval_s = LOOK_INTERVAL_S if any(map(_is_own, addresses)) else ASK_INTERVAL_S
        while True:
            listening = await self.look()
            if listening != self.is_listening:
                self.is_listening = listening
                self._changed.set()
            await asyncio.sleep(interval_s)

    async def wait_for(self, *, listening: bool) -> None:
        """Until that is so."""
        while self.is_listening != listening:
            changed = self._changed
            await changed.wait()
            if self._changed is changed:
                self._changed = asyncio.Event()


def parse_listeners(lines: Iterable[str]) -> Iterator[tuple[Address, int]]:
    """The listening sockets of a table as in proc_pid_net(5), which come before all others."""
    rows = iter(lines)
    next(rows, None)
    for row in rows:
        _, local, _, state, *_ = row.split()
        if state != _LISTENING:
            return
        address, _, port = local.partition(":")
        yield _parse_address(address), int(port, 16)


def _parse_address(text: str) -> Address:
    """Words of 32 bits in the machine's order; here little endian, as Linux runs on."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    address = ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_taken(address: Address, port: int) -> bool:
    return any(
        number == port and (at == address or (at.is_unspecified and _covers(at, address)))
        for table in _TABLES
        for at, number in _read(table)
    )


def _covers(unspecified: Address, address: Address) -> bool:
    """:: takes IPv4 as well, unless the socket says no, which can't be seen here."""
    return unspecified.version == 6 or address.version == 4


def _read(table: Path) -> list[tuple[Address, int]]:
    try:
        opened: TextIO = table.open()
    except OSError:  # a kernel without IPv6
        return []
    with opened as lines:
        return list(parse_listeners(lines))


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


def _is_own(address: Address) -> bool:
    """Whether the address is one of this machine's: only such can be bound to."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((str(address), 0))
    except OSError:
        return False
    return True


async def _ask(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
