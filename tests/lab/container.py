"""`python container.py ROOT CONFIG net-admin|plain ARG...`: an image's entrypoint on ROOT.

As a container engine runs it beside others: in the network that it is started in, with a root
directory, processes and capabilities of its own.

The resolver's file, the names of hosts and the kubeconfig are bind mounts, as with Docker.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path

from ktnet.lab.node.launch import Entry
from ktnet.lab.node.root import enter_new_root
from ktnet.lab.node.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    PR_CAPBSET_DROP,
    unshare,
)
from ktnet.lab.node.unpacked import list_root_entries

DOCKER_CAPABILITIES = 0xA80425FB
"""https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities"""
NET_ADMIN = 1 << 12
LAST_CAPABILITY = 40


def main(root: str, config_path: str, mode: str, *rest: str) -> None:
    with_rights = {"net-admin": True, "plain": False}[mode]
    config = json.loads(Path(config_path).read_text())
    kubeconfig = os.environ["KUBECONFIG"]
    entries = [
        *list_root_entries(Path(root)),
        Entry("tmpfs", "/tmp", mode=0o1777),
        Entry("tmpfs", "/run"),
        Entry("bind", "/etc/resolv.conf", source=os.path.realpath("/etc/resolv.conf")),
        Entry("bind", "/etc/hosts", source=os.path.realpath("/etc/hosts")),
        Entry("tmpfs", "/root", mode=0o700),
        Entry("bind", "/root/.kube/config", source=kubeconfig, read_only=True),
    ]
    if with_rights:
        entries.append(Entry("bind", "/dev/net/tun", source="/dev/net/tun"))
    unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
    with tempfile.TemporaryDirectory() as staging:
        enter_new_root(staging, entries, read_only=False)
        drop_capabilities(DOCKER_CAPABILITIES | (NET_ADMIN if with_rights else 0))
        environment = dict(each.split("=", 1) for each in config["Env"]) | {"HOME": "/root"}
        command = [*config["Entrypoint"], *rest]
        os.execvpe(command[0], command, environment)


def drop_capabilities(kept: int) -> None:
    """Also those that root would get back by execve(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(LAST_CAPABILITY + 1):
        if not kept >> number & 1:
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
