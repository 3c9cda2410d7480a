"""A mount namespace of this process's own, for programs that become somebody else."""

import ctypes
import os
from collections.abc import Callable

_NEWNS, _BIND, _PRIVATE = 0x00020000, 0x1000, 0x44000


def enter_own_mounts() -> Callable[[str, str], None]:
    """What binds one path over another from now on; /mnt is empty and ours."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int) -> None:
        words = (source.encode(), target.encode(), kind.encode() if kind else None)
        if libc.mount(*words, flags, None) < 0:
            raise OSError(ctypes.get_errno(), f"mount {source} on {target}")

    if libc.unshare(_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", None, _PRIVATE)
    mount("tmpfs", "/mnt", "tmpfs", 0)
    return lambda source, target: mount(source, target, None, _BIND)


def become(uid: int) -> None:
    """This user, and no other's groups."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
