"""`python ordinary_user.py CMD...`: become nobody on a machine where everybody may open a TUN.

As on most desktops /dev/net/tun is mode 0666 then: by a device of our own in a mount namespace.
"""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from own_mounts import become, enter_own_mounts

NOBODY = 65534


@contextmanager
def public_directory() -> Iterator[Path]:
    """One that everybody may enter. Pytest's own lie in one that is closed to others again
    whenever somebody starts another pytest on this machine."""
    with tempfile.TemporaryDirectory(prefix=f"ktnet-public-{os.getpid()}-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


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
