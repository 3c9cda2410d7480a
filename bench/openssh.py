"""OpenSSH at both ends, as the peer: its own sshd, and `ssh -L` to it."""

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL

from peers import find_ssh, find_sshd

CIPHER = "aes128-gcm@openssh.com"
PORT = 2200


def build_keys(directory: Path) -> None:
    """`host` and `client`, and the users that sshd wants to know."""
    for name in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    users = Path("/etc/passwd").read_text()
    if "\nsshd:" not in users:
        users += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    (directory / "passwd").write_text(users)


@contextmanager
def open_sshd(
    directory: Path, address: str, prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen]:
    """Listens on address:PORT for the key `client`; `prefix` says where it runs.

    In a mount namespace of its own, where it finds the user and the directory that it separates
    its privileges with.
    """
    sshd, environment = find_sshd()
    command = [
        *(sshd, "-D", "-e", "-f", "/dev/null", "-p", str(PORT)),
        *("-o", f"HostKey={directory}/host", "-o", f"ListenAddress={address}"),
        *("-o", f"AuthorizedKeysFile={directory}/client.pub", "-o", "StrictModes=no"),
        *("-o", "PidFile=none", "-o", "UsePAM=no", "-o", "PermitRootLogin=yes"),
        *("-o", "MaxSessions=1000", "-o", "UseDNS=no"),
    ]
    script = (
        f"mount --make-rprivate / && mount --bind {directory}/passwd /etc/passwd && "
        "mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && "
        f"exec env {shlex.join(f'{k}={v}' for k, v in environment.items())} {shlex.join(command)}"
    )
    server = subprocess.Popen(
        [*prefix, "unshare", "-m", "sh", "-c", script], stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        yield server
    finally:
        for pid in reversed(descendants(server.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        server.wait()


def find_session(server: subprocess.Popen) -> list[int]:
    """The server's processes, once a client is logged in: until then one of them, which talks to
    the network and may do nothing else ("[net]"), is about to end."""
    for _ in range(400):
        pids = descendants(server.pid)
        titles = [read_title(pid) for pid in pids]
        if all(titles) and not any("[net]" in title for title in titles):
            return pids
        time.sleep(0.01)
    raise RuntimeError("sshd did not get through with the log-in")


def read_title(pid: int) -> str:
    """proc_pid_cmdline(5); empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def build_client_command(directory: Path) -> list[str]:
    """ssh(1) with the key, and nothing of the user's."""
    return [
        *(find_ssh(), "-F", "none", "-p", str(PORT), "-i", str(directory / "client")),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "LogLevel=ERROR", "-o", "ConnectionAttempts=20", "-c", CIPHER),
    ]


@contextmanager
def open_forwards(
    directory: Path,
    address: str,
    shift: int,
    ports: list[int],
    prefix: tuple[str, ...] = (),
    target: str = "127.0.0.1",
) -> Iterator[subprocess.Popen]:
    """`ssh -L` of each port + `shift` to the port of `target`, as the server sees it."""
    forwards = [f"-L127.0.0.1:{port + shift}:{target}:{port}" for port in ports]
    client = subprocess.Popen(
        [*prefix, *build_client_command(directory), "-N", *forwards, f"root@{address}"]
    )
    try:
        yield client
    finally:
        client.kill()
        client.wait()


def descendants(ancestor: int) -> list[int]:
    """A process and what descends from it, by their ids."""
    found = [ancestor]
    for pid in found:
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            continue
        found += [int(word) for word in text.split()]
    return found
