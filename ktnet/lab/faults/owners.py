"""Which process owns the other end of a connection, and its end by SIGKILL.

The API server sees an address and a port; on that laptop /proc/net/tcp gives the socket's inode
(proc(5)), and /proc/PID/fd who has it open.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from ktnet.lab.faults.requests import Kill, Peer

DEATH_TIMEOUT_MS = 5000


def find_inode(table: str, peer: Peer) -> int | None:
    """The inode of the socket bound to `peer`, in the text of a /proc/net/tcp."""
    (address,) = struct.unpack("=I", socket.inet_aton(peer[0]))
    wanted = f"{address:08X}:{peer[1]:04X}"
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[1] == wanted and fields[9] != "0":
            return int(fields[9])
    return None


def find_holders(inode: int) -> Iterator[int]:
    """The processes that have that socket open."""
    wanted = f"socket:[{inode}]"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(_reads(link, wanted) for link in (entry / "fd").iterdir()):
                yield int(entry.name)


def _reads(link: Path, wanted: str) -> bool:
    try:
        return str(link.readlink()) == wanted
    except OSError:  # closed meanwhile
        return False


def kill_owners(network: int, peer: Peer) -> tuple[int, ...]:
    """SIGKILL to all owners of a socket; returns their ids when they are dead (blocking).

    `network` is a process in the socket's network namespace. Raises ValueError where nobody owns
    it any more.
    """
    inode = find_inode(Path(f"/proc/{network}/net/tcp").read_text(), peer)
    killed = []
    for pid in find_holders(inode) if inode is not None else ():
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                dead = select.poll()
                dead.register(descriptor, select.POLLIN)
                dead.poll(DEATH_TIMEOUT_MS)
            finally:
                os.close(descriptor)
            killed.append(pid)
    if not killed:
        raise ValueError(f"no process owns {peer[0]}:{peer[1]}")
    return tuple(killed)


def build_kill(networks: Mapping[str, int]) -> Kill:
    """Kills clients by their address; `networks` names a process in each one's network."""

    def kill(peer: Peer) -> tuple[int, ...]:
        if peer[0] not in networks:
            raise ValueError(f"{peer[0]} is no laptop")
        return kill_owners(networks[peer[0]], peer)

    return kill
