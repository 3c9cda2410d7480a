"""The processes that live in a laptop: found by its network namespace, ended with the lab.

Commands of `ktnet lab exec` are no children of the lab's daemon; as long as one of them runs, its
laptop's namespaces stay.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Collection
from pathlib import Path

from ktnet.lab.node.syscalls import CLONE_NEWNET, setns

SO_NETNS_COOKIE = 71
"""include/uapi/asm-generic/socket.h; since Linux 5.14, not yet in Python's socket module."""

GRACE_S = 5.0
"""From SIGTERM to SIGKILL: enough for a `ktnet connect` to undo what it did."""


def read_cookie() -> int:
    """The cookie of this thread's network namespace: no other one ever has it, until a reboot."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        data = probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    return int(struct.unpack("=Q", data)[0])


def read_cookie_of(pid: int) -> int:
    """The cookie of a process's network namespace; raises OSError where it has gone."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        results: list[int | OSError] = []

        def visit() -> None:
            # A thread of its own may enter another network namespace: nobody else is moved.
            try:
                setns(namespace.fileno(), CLONE_NEWNET)
                results.append(read_cookie())
            except OSError as error:
                results.append(error)

        thread = threading.Thread(target=visit)
        thread.start()
        thread.join()
    result = results[0]
    if isinstance(result, OSError):
        raise result
    return result


def find_residents(cookies: Collection[int]) -> list[int]:
    """The ids of all processes in network namespaces with these cookies, but not this process."""
    found: list[int] = []
    by_inode: dict[int, bool] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            inode = (entry / "ns/net").stat().st_ino
            if inode not in by_inode:
                by_inode[inode] = read_cookie_of(int(entry.name)) in cookies
            if by_inode[inode]:
                found.append(int(entry.name))
    return found


def end_residents(cookies: Collection[int], spared: Collection[int] = ()) -> None:
    """Ends them all but the spared: SIGTERM, then SIGKILL; returns when they are gone.

    Blocks for GRACE_S and a little at most.
    """
    _signal_until_gone(cookies, spared, signal.SIGTERM, GRACE_S)
    # New ones may have been born meanwhile.
    for _ in range(10):
        if not _signal_until_gone(cookies, spared, signal.SIGKILL, 1.0):
            return


def _signal_until_gone(
    cookies: Collection[int], spared: Collection[int], number: signal.Signals, timeout_s: float
) -> bool:
    """Whether there was anything to signal."""
    descriptors: list[int] = []
    try:
        for pid in find_residents(cookies):
            if pid in spared:
                continue
            with contextlib.suppress(ProcessLookupError):
                # The descriptor pins the process: it can't be another one by now.
                descriptor = os.pidfd_open(pid)
                descriptors.append(descriptor)
                with contextlib.suppress(OSError):
                    if read_cookie_of(pid) in cookies:
                        signal.pidfd_send_signal(descriptor, number)
        _wait(descriptors, timeout_s)
        return bool(descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _wait(descriptors: list[int], timeout_s: float) -> None:
    """Until all these processes have ended, at most timeout_s."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    left = set(descriptors)
    deadline_s = time.monotonic() + timeout_s
    while left and (remaining_s := deadline_s - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(remaining_s * 1000):
            poll.unregister(descriptor)
            left.discard(descriptor)
