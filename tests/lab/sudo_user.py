"""`python sudo_user.py HOME RULE CMD...`: become ada, an ordinary user who may do what RULE says.

She, the rule (of sudoers(5)) and a PAM without a password are files in a mount namespace of this
process; the machine has none of them, and shares everything else, /etc/resolv.conf above all.
"""

import os
import socket
import sys
from pathlib import Path

from own_mounts import become, enter_own_mounts

NAME, UID = "ada", 4711
PAM = "auth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n"


def main(home: str, rule: str, command: list[str]) -> None:
    bind = enter_own_mounts()
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
        bind(str(own), f"/etc/{name}")
    become(UID)
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
