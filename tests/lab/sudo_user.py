"""`python sudo_user.py HOME RULE CMD...`: become ada, an ordinary user who may do what RULE says.

She, the rule (of sudoers(5)) and a PAM without a password are files in a mount namespace of this
process; the machine has none of them, and shares everything else, /etc/resolv.conf above all.
"""

import ctypes
import os
import socket
import sys
from pathlib import Path

NAME, UID = "ada", 4711
_NEWNS, _BIND, _PRIVATE = 0x00020000, 0x1000, 0x44000
PAM = "auth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n"


def main(home: str, rule: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int) -> None:
        words = (source.encode(), target.encode(), kind.encode() if kind else None)
        if libc.mount(*words, flags, None) < 0:
            raise OSError(ctypes.get_errno(), f"mount {source} on {target}")

    if libc.unshare(_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", None, _PRIVATE)
    mount("tmpfs", "/mnt", "tmpfs", 0)
    passwd, group, hosts = (Path("/etc", n).read_text() for n in ("passwd", "group", "hosts"))
    for name, text, mode in (
        ("passwd", f"{passwd}{NAME}:x:{UID}:{UID}::{home}:/bin/sh\n", 0o644),
        ("group", f"{group}{NAME}:x:{UID}:\n", 0o644),
        ("sudoers", f"Defaults env_reset, use_pty\n{NAME} ALL=(root) NOPASSWD: {rule}\n", 0o440),
        ("pam.d/sudo", PAM, 0o644),
        # sudo complains on stderr where the machine's own name isn't known.
        ("hosts", f"{hosts}127.0.0.1 {socket.gethostname()}\n", 0o644),
    ):
        own = Path("/mnt") / name
        own.parent.mkdir(exist_ok=True)
        own.write_text(text)
        own.chmod(mode)
        mount(str(own), f"/etc/{name}", None, _BIND)
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    os.chdir("/")
    kept = ("KUBECONFIG", "PYTHONUNBUFFERED")
    environment = {
        **{key: os.environ[key] for key in kept if key in os.environ},
        "HOME": home,
        "USER": NAME,
        "LOGNAME": NAME,
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    }
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
