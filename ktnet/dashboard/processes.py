"""Which process of this user has a connection: as far as /proc tells.

proc_net(5): /proc/net/tcp names each socket's inode; /proc/PID/fd links to it. Only processes of
our own user are looked at, and of those in another network namespace (`ktnet exec`) the sockets
aren't in our /proc/net/tcp.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

Endpoint = tuple[str, int]

Connection = tuple[Endpoint, Endpoint]
"""Here and there: two connections to different places may have the same port here."""

_MAPPED = bytes(8) + (0xFFFF).to_bytes(4, "big")[:: -1 if sys.byteorder == "little" else 1]
"""::ffff:0:0/96, as those words."""

RESCAN_S = 30.0
"""Between two scans for sockets whose process wasn't found: a scan reads every process."""


class ProcessNames:
    """Remembers what was found, for as long as the sockets are there."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._names: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._scanned_s = 0.0

    def find(self, connections: Iterable[Connection]) -> dict[Connection, str]:
        """ "NAME (PID)" of who has which connection; what can't be known is left out."""
        inodes = self._read_inodes(set(connections))
        wanted = set(inodes.values())
        self._names = {inode: name for inode, name in self._names.items() if inode in wanted}
        missing = wanted - self._names.keys()
        now_s = time.monotonic()
        if missing - self._unknown or (missing and now_s - self._scanned_s > RESCAN_S):
            self._scanned_s = now_s
            for name, inode in self._scan():
                if inode in missing:
                    self._names[inode] = name
        self._unknown = missing - self._names.keys()
        return {each: self._names[inode] for each, inode in inodes.items() if inode in self._names}

    def _read_inodes(self, wanted: set[Connection]) -> dict[Connection, str]:
        found: dict[Connection, str] = {}
        for name in ("tcp", "tcp6"):
            try:
                text = self._proc.joinpath("net", name).read_text()
            except OSError:
                continue
            found |= {each: inode for each, inode in parse_sockets(text) if each in wanted}
        return found

    def _scan(self) -> Iterator[tuple[str, str]]:
        uid = os.geteuid()
        for process in self._proc.iterdir():
            if not process.name.isdecimal():
                continue
            try:
                if process.stat().st_uid != uid:
                    continue
                name = process.joinpath("comm").read_text().rstrip("\n")
                for link in process.joinpath("fd").iterdir():
                    target = os.readlink(link)  # noqa: PTH115  a Path each would double the time
                    if target.startswith("socket:["):
                        yield f"{name} ({process.name})", target[len("socket:[") : -1]
            except OSError:  # it has ended, or isn't to be looked at
                continue


def parse_sockets(text: str) -> Iterator[tuple[Connection, str]]:
    """IPv4 connection and inode of each line of /proc/net/tcp or tcp6. Pure."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            here, there = _parse_endpoint(fields[1]), _parse_endpoint(fields[2])
            inode = fields[9]
        except (IndexError, ValueError):
            continue
        if here is not None and there is not None:
            yield (here, there), inode


def _parse_endpoint(text: str) -> Endpoint | None:
    """None for an IPv6 one. Addresses are hexadecimal, in 32-bit words of the host's byte order.

    In tcp6, an IPv4 address is the last word of a mapped one (RFC 4291 section 2.5.5.2).
    """
    address, _, port = text.partition(":")
    word = bytes.fromhex(address)
    if len(word) == 16 and word[:12] == _MAPPED:
        word = word[12:]
    if len(word) != 4:
        return None
    octets = word[::-1] if sys.byteorder == "little" else word
    return ".".join(map(str, octets)), int(port, 16)
