"""Which process of this user has a connection: as far as /proc tells.

proc_net(5): /proc/net/tcp names each socket's inode; /proc/PID/fd links to it. Only processes of
our own user are looked at, and of those in another network namespace (`ktnet exec`) the sockets
aren't in our /proc/net/tcp.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

Endpoint = tuple[str, int]

RESCAN_S = 5.0
"""Between two scans for sockets whose process wasn't found: a scan reads every process."""


class ProcessNames:
    """Remembers what was found, for as long as the sockets are there."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._names: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._scanned_s = 0.0

    def find(self, sources: Iterable[Endpoint]) -> dict[Endpoint, str]:
        """ "NAME (PID)" of who has a connection from there; what can't be known is left out."""
        inodes = self._read_inodes(set(sources))
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
        return {
            source: self._names[inode] for source, inode in inodes.items() if inode in self._names
        }

    def _read_inodes(self, sources: set[Endpoint]) -> dict[Endpoint, str]:
        found: dict[Endpoint, str] = {}
        for name in ("tcp", "tcp6"):
            try:
                text = self._proc.joinpath("net", name).read_text()
            except OSError:
                continue
            found |= {each: inode for each, inode in parse_sockets(text) if each in sources}
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


def parse_sockets(text: str) -> Iterator[tuple[Endpoint, str]]:
    """Local IPv4 endpoint and inode of each line of /proc/net/tcp or tcp6. Pure.

    Addresses are hexadecimal, in 32-bit words of the host's byte order (little-endian here).
    """
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            address, _, port = fields[1].partition(":")
            # In tcp6, an IPv4 address is the last word of a mapped one (RFC 4291 2.5.5.2).
            if len(address) == 8 or address.startswith("0000000000000000FFFF0000"):
                octets = bytes.fromhex(address[-8:])[::-1]
                yield (".".join(map(str, octets)), int(port, 16)), fields[9]
        except (IndexError, ValueError):
            continue
