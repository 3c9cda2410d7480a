"""Builds a container's root directory out of bind mounts, in the new process itself.

The root is a tmpfs, so directories on the way belong to root with mode 0755: a package under
somebody's private home can be bound to the same path and be read by uid 65534.

Sources are copied as detached mounts before anything else, and the node's own root is gone before
they are put in place: whatever a pod's spec calls a path, it can't lead out of the container.
"""

# ruff: noqa: PTH101, PTH103, PTH110, PTH120, PTH123, PTH211
# Paths here are plain names in one root directory that were told in another one.

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from ktnet.lab.node.launch import Entry
from ktnet.lab.node.syscalls import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    attach_mount,
    copy_mount,
    mount,
    pivot_root,
    unmount,
)

NO_SOURCE = -1

# What runc makes read-only or hides by default: these files would let uid 0 change the host.
# https://github.com/opencontainers/runtime-spec, config-linux.md, "Default Filesystems" and
# containerd's defaults for maskedPaths and readonlyPaths.
PROC_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")
PROC_HIDDEN = ("kcore", "keys", "latency_stats", "timer_list", "sched_debug")


def enter_new_root(staging: str, entries: Sequence[Entry], *, read_only: bool) -> None:
    """Makes `entries` the whole root directory of this mount namespace.

    `staging` is any existing directory. Raises OSError.
    """
    mount("", "/", "", MS_PRIVATE | MS_REC)
    sources = _copy_sources(entries)
    mount("root", staging, "tmpfs", MS_NODEV | MS_NOSUID, "mode=755")
    # The old root ends up over the new one and is taken off again: pivot_root(2), at
    # 'pivot_root(".", ".")'.
    os.chdir(staging)
    pivot_root(".", ".")
    unmount(".")
    os.chdir("/")
    _place_all(entries, sources)
    if read_only:
        mount("", "/", "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV | MS_NOSUID)


def layer_over_node(entries: Sequence[Entry]) -> None:
    """Puts `entries` over the node's own directories, in this mount namespace only."""
    mount("", "/", "", MS_PRIVATE | MS_REC)
    _place_all(entries, _copy_sources(entries))


def _copy_sources(entries: Sequence[Entry]) -> list[int]:
    return [copy_mount(entry.source) if entry.kind == "bind" else NO_SOURCE for entry in entries]


def _place_all(entries: Sequence[Entry], sources: Sequence[int]) -> None:
    for entry, source in zip(entries, sources, strict=True):
        _place(entry, source)
        if source != NO_SOURCE:
            os.close(source)


def _place(entry: Entry, source: int) -> None:
    path = entry.target
    match entry.kind:
        case "bind":
            _bind(source, path, entry)
        case "directory":
            os.makedirs(path, 0o755, exist_ok=True)
            os.chmod(path, entry.mode)
        case "file":
            _write_file(path, entry.source, entry.mode)
        case "link":
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            os.symlink(entry.source, path)
        case "tmpfs":
            os.makedirs(path, 0o755, exist_ok=True)
            flags = MS_NODEV | MS_NOSUID | (MS_RDONLY if entry.read_only else 0)
            mount("tmpfs", path, "tmpfs", flags, f"mode={entry.mode:o}")
        case "devpts":
            os.makedirs(path, 0o755, exist_ok=True)
            flags = MS_NOSUID | MS_NOEXEC
            mount("devpts", path, "devpts", flags, "newinstance,ptmxmode=0666")
        case "proc":
            _mount_proc(path)
        case "sys":
            os.makedirs(path, 0o755, exist_ok=True)
            mount("sysfs", path, "sysfs", MS_RDONLY | MS_NODEV | MS_NOEXEC | MS_NOSUID)


def _bind(source: int, path: str, entry: Entry) -> None:
    kind = os.fstat(source).st_mode
    if stat.S_ISDIR(kind):
        os.makedirs(path, 0o755, exist_ok=True)
    elif not os.path.lexists(path):
        _write_file(path, "", 0o644)
    attach_mount(source, path)
    flags = MS_NOSUID | (MS_RDONLY if entry.read_only else 0)
    if not stat.S_ISCHR(kind):
        flags |= MS_NODEV
    mount("", path, "", MS_REMOUNT | MS_BIND | flags)


def _write_file(path: str, text: str, mode: int) -> None:
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)


def _mount_proc(path: str) -> None:
    os.makedirs(path, 0o755, exist_ok=True)
    mount("proc", path, "proc", MS_NODEV | MS_NOEXEC | MS_NOSUID)
    flags = MS_RDONLY | MS_NODEV | MS_NOEXEC | MS_NOSUID
    for name in PROC_READ_ONLY:
        inner = f"{path}/{name}"
        if os.path.exists(inner):
            mount(inner, inner, "", MS_BIND | MS_REC)
            mount("", inner, "", MS_REMOUNT | MS_BIND | flags)
    for name in PROC_HIDDEN:
        inner = f"{path}/{name}"
        if os.path.exists(inner):
            mount("/dev/null", inner, "", MS_BIND)
