"""The few Linux calls that Python 3.11 doesn't offer: namespaces, mounts, capabilities.

Each raises OSError with the kernel's errno. Numbers are those of include/uapi/linux/ (sched.h,
mount.h, prctl.h, capability.h), the same on all architectures unless said otherwise.
"""

from __future__ import annotations

import ctypes
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x0001
MS_NOSUID = 0x0002
MS_NODEV = 0x0004
MS_NOEXEC = 0x0008
MS_REMOUNT = 0x0020
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_SYMLINKS = 0x10
_OPEN_TREE = 428
_MOVE_MOUNT = 429
"""System call numbers, the same on all machines since Linux 5.2; libc has wrappers since 2.36."""

_CAPABILITY_VERSION_3 = 0x20080522
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
"""System call numbers by machine: libc has no wrapper."""
_CAPSET = {"x86_64": 126, "aarch64": 91}

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """unshare(2): this thread gets namespaces of its own."""
    _check(_libc.unshare(flags))


def setns(descriptor: int, flags: int) -> None:
    """setns(2): this thread enters the namespace, or those of the process (a pidfd)."""
    _check(_libc.setns(descriptor, flags))


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    _check(
        _libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            options.encode() if options else None,
        ),
        target,
    )


def copy_mount(source: str) -> int:
    """open_tree(2): a descriptor of a mount of `source` that is nowhere yet."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    return _result(
        _libc.syscall(ctypes.c_long(_OPEN_TREE), _AT_FDCWD, source.encode(), flags), source
    )


def attach_mount(descriptor: int, target: str) -> None:
    """move_mount(2): puts what `copy_mount` made at `target`."""
    number = ctypes.c_long(_MOVE_MOUNT)
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_SYMLINKS
    _check(_libc.syscall(number, descriptor, b"", _AT_FDCWD, target.encode(), flags), target)


def unmount(target: str) -> None:
    """umount2(2) with MNT_DETACH: gone from sight at once, in fact when nobody uses it."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), target)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _check(_system_call(_PIVOT_ROOT, new.encode(), old.encode()), new)


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) for the options that take one number."""
    _check(_libc.prctl(option, ctypes.c_ulong(value), *([ctypes.c_ulong(0)] * 3)))


def filter_system_calls(program: bytes) -> None:
    """seccomp(2) by prctl: from now on, and whatever is executed. `program`: sock_filters."""
    code = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    options = (ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.create_string_buffer(whole, len(whole)))
    _check(_libc.prctl(PR_SET_SECCOMP, *options))


def drop_capabilities(keep: int) -> None:
    """Bounds this process, and whatever it executes, to the capabilities in the mask `keep`.

    The bounding and the ambient set; the calling thread loses effective ones by
    `set_capabilities`.
    """
    for number in range(_last_capability() + 1):
        if not keep >> number & 1:
            prctl(PR_CAPBSET_DROP, number)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def set_capabilities(mask: int) -> None:
    """Permitted and effective capabilities become `mask`, inheritable ones none (capset(2))."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    _check(_system_call(_CAPSET, header, data))


def _last_capability() -> int:
    with open("/proc/sys/kernel/cap_last_cap") as file:  # noqa: PTH123 -- pathlib is slow to import
        return int(file.read())


def _system_call(numbers: dict[str, int], *arguments: bytes) -> int:
    return int(_libc.syscall(ctypes.c_long(numbers[os.uname().machine]), *arguments))


def _check(result: int, path: str | None = None) -> None:
    _result(result, path)


def _result(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
