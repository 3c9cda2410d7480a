"""Network, IPC and UTS namespaces, entered by the daemon itself for the length of a few calls.

Only the calling thread is moved, and nothing may be awaited inside: a socket or a namespace made
there stays where it was made.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from ktnet.lab.node.syscalls import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS, setns, unshare

KINDS = ("net", "ipc", "uts")


@contextlib.contextmanager
def inside(*descriptors: int) -> Iterator[None]:
    """This thread is in these namespaces meanwhile."""
    with _returning():
        for descriptor in descriptors:
            setns(descriptor, 0)
        yield


def make_namespaces(hostname: str) -> tuple[int, int, int]:
    """Descriptors of new network, IPC and UTS namespaces; they last while something uses them."""
    with _returning():
        unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
        socket.sethostname(hostname)
        network, ipc, uts = _open_own()
        return network, ipc, uts


def write_sysctl(name: str, value: str) -> None:
    """Sets a `net.` sysctl of the network namespace that this thread is in; raises OSError."""
    # Names of interfaces may hold dots; none of the lab's does.
    Path("/proc/sys", *name.split(".")).write_text(value)


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    own = _open_own()
    try:
        yield
    finally:
        for descriptor in own:
            setns(descriptor, 0)
            os.close(descriptor)


def _open_own() -> list[int]:
    return [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in KINDS]
