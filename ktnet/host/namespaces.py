"""The few Linux calls about namespaces and mounts that Python 3.11 doesn't offer.

unshare(2), mount(2), user_namespaces(7). Each raises OSError with the kernel's errno.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """This process, of one thread, gets namespaces of its own."""
    _check(_libc.unshare(flags))


def keep_identity(uid: int, gid: int) -> None:
    """In a new user namespace, be who one was outside; nobody else has a name there."""
    # A group can't be given up to reach what it is denied (user_namespaces(7), "setgroups").
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def make_mounts_private() -> None:
    """What is mounted from now on is seen in this mount namespace alone."""
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))


def bind(source: Path, target: Path) -> None:
    """`source` in place of `target`, which may be a link to what is replaced."""
    _check(_libc.mount(bytes(source), bytes(target), None, _MS_BIND, None))


def end_with_parent(number: int) -> None:
    """This process gets the signal when its parent ends; over execve(2) too."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
