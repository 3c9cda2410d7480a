"""`python ordinary_user.py CMD...`: become nobody on a machine where everybody may open a TUN.

As on most desktops /dev/net/tun is mode 0666 then: by a device of our own in a mount namespace.
"""

import os
import stat
import sys
from pathlib import Path

from own_mounts import become, enter_own_mounts

NOBODY = 65534


def let_everybody_enter(directory: Path) -> None:
    """One that pytest has made below /tmp, for nobody but us."""
    for each in (directory, *directory.parents):
        if each.is_relative_to("/tmp") and each != Path("/tmp"):
            each.chmod(0o755)


def main(command: list[str]) -> None:
    bind = enter_own_mounts()
    os.mknod("/mnt/tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))
    Path("/mnt/tun").chmod(0o666)
    bind("/mnt/tun", "/dev/net/tun")
    become(NOBODY)
    environment = {"HOME": "/tmp", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main(sys.argv[1:])
