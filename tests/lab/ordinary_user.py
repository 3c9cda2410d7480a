"""`python ordinary_user.py CMD...`: become nobody on a machine where everybody may open a TUN.

As on most desktops /dev/net/tun is mode 0666 then: by a device of our own in a mount namespace.
"""

import ctypes
import os
import stat
import sys
from pathlib import Path

NOBODY = 65534
_NEWNS, _BIND, _PRIVATE = 0x00020000, 0x1000, 0x44000


def main(command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int) -> None:
        words = (source.encode(), target.encode(), kind.encode() if kind else None)
        if libc.mount(*words, flags, None) < 0:
            raise OSError(ctypes.get_errno(), f"mount {source} on {target}")

    if libc.unshare(_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", None, _PRIVATE)
    mount("tmpfs", "/mnt", "tmpfs", 0)
    os.mknod("/mnt/tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))
    Path("/mnt/tun").chmod(0o666)
    mount("/mnt/tun", "/dev/net/tun", None, _BIND)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    environment = {"HOME": "/tmp", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main(sys.argv[1:])
