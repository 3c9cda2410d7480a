"""The resolver's file on disk: look at it, make it ours, give the former one back.

A file or symlink is replaced: our file is renamed over it, after the old one got a second name
(a hard link), from which it comes back as the very same file. A bind mount, as containers have,
can't be renamed over (EBUSY), so it is rewritten in place. Whoever changes the file while it is
ours keeps that change: only what is ours goes.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Literal

from ktnet.errors import Conflict, DnsError
from ktnet.host.resolvconf import (
    STUBS,
    build_resolv_conf,
    find_manager,
    is_ours,
    parse_resolv_conf,
    without_ours,
)
from ktnet.host.resolver_plan import ResolverFact, ResolverPlan
from ktnet.host.steps import Former, ResolverStep, backup_of

RESOLV_CONF = Path("/etc/resolv.conf")
BEHIND_STUB = Path("/run/systemd/resolve/resolv.conf")

DEFAULT_NAMESERVERS = ("127.0.0.1",)
"""Whom the C library asks where the file names nobody (resolv.conf(5))."""

MAX_BYTES = 64 * 1024
"""Of the file; the C library heeds three nameservers and a line of search domains."""


# --- look ---


def survey_resolver(
    path: Path = RESOLV_CONF, behind_stub: Path = BEHIND_STUB, *, resolved: bool = False
) -> ResolverFact:
    """What the resolver's file is and says. Raises DnsError where it can't be read."""
    text = _text(_read(path))
    found = parse_resolv_conf(text, socket.gethostname().partition(".")[2])
    nameservers = found.nameservers
    stub = not STUBS.isdisjoint(nameservers)
    if stub:
        behind = parse_resolv_conf(_text(_read(behind_stub))).nameservers
        nameservers = behind or nameservers
    kind = _kind(path)
    target = str(path.readlink()) if kind == "symlink" else ""
    return ResolverFact(
        kind,
        nameservers or DEFAULT_NAMESERVERS,
        found.search,
        stub,
        find_manager(text, target),
        resolved,
    )


def plan_resolver_step(plan: ResolverPlan, path: Path = RESOLV_CONF) -> ResolverStep:
    """How this file becomes ours; nothing is changed yet.

    Raises DnsError where it can't be read, Conflict where it is another session's.
    """
    current = _text(_read(path))
    if is_ours(current):
        raise Conflict(
            f"{path} is in the hands of another ktnet session",
            hint="end that one; if there is none, put back the file yourself"
            f" (the former one may be {backup_of(path)})",
        )
    kind = _kind(path)
    # Also where the directory is read-only: the file itself, or a symlink's target, may not be.
    in_place = kind == "bind-mount" or not os.access(path.parent, os.W_OK)
    way: Literal["replace", "rewrite"] = "rewrite" if in_place else "replace"
    ours = build_resolv_conf(plan, parse_resolv_conf(current).kept).encode()
    former = _former(path, follow=in_place)
    if in_place and former.kind == "missing":
        raise DnsError(f"there is no {path}, and {path.parent} is read-only")
    return ResolverStep(path, way, ours, plan, former)


# --- make it ours ---


def take_resolver(step: ResolverStep) -> None:
    """Make the step. Raises DnsError; what is half made then, `restore_resolver` undoes."""
    try:
        if step.way == "rewrite":
            _rewrite(step.path, step.ours)
        else:
            _replace(step)
    except OSError as error:
        raise DnsError(
            f"{step.path} can't be changed: {error.strerror}", hint=_hint(error)
        ) from error


def _replace(step: ResolverStep) -> None:
    _write_draft(step.draft, step.ours)
    if step.former.kind != "missing":
        step.backup.unlink(
            missing_ok=True
        )  # of a session long ago: the file at `path` is no ktnet's
        os.link(step.path, step.backup, follow_symlinks=False)
    step.draft.rename(step.path)
    _sync_directory(step.path)


def _write_draft(draft: Path, content: bytes, mode: int = 0o644) -> None:
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(draft, flags, mode), "wb") as file:  # noqa: PTH123
        os.fchmod(file.fileno(), mode)  # the umask doesn't count: everybody resolves names
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _rewrite(path: Path, content: bytes) -> None:
    """New content for the same inode; the old one again where there is no room for it."""
    with path.open("r+b", buffering=0) as file:
        old = file.read()
        try:
            _overwrite(file.fileno(), content)
        except OSError:
            _overwrite(file.fileno(), old)
            raise


def _overwrite(descriptor: int, content: bytes) -> None:
    # Truncated last: a reader in between, or the disk being full, never finds an empty file.
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], written)
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)


def _hint(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "the file system is read-only: mount it writable, or leave the file: --dns-mode off"
    if error.errno in (errno.EPERM, errno.EACCES):
        return "is it immutable? see lsattr, and undo with chattr -i"
    return ""


def is_in_place(step: ResolverStep) -> bool:
    """Whether the file still says what we have written. Raises DnsError."""
    path = step.path
    current = _read(path) if step.way == "rewrite" else _read_plain(path)
    return current == step.ours


# --- give it back ---


def restore_resolver(step: ResolverStep) -> list[str]:
    """Undo the step, however far it came. Returns what the user should know.

    Raises DnsError where the former file can't be put back.
    """
    try:
        return _restore_rewritten(step) if step.way == "rewrite" else _restore_replaced(step)
    except OSError as error:
        raise DnsError(
            f"the former {step.path} can't be put back: {error.strerror}", hint=_hint(error)
        ) from error


def _restore_replaced(step: ResolverStep) -> list[str]:
    step.draft.unlink(missing_ok=True)
    former = _former(step.path, follow=False)
    if (former.kind, former.content) == (step.former.kind, step.former.content):
        step.backup.unlink(missing_ok=True)  # it was not replaced yet, or is put back already
        return []
    current = _read_plain(step.path)
    if current == step.ours or not os.path.lexists(step.path):
        _put_back(step)
        return []
    return _keep_theirs(step, current)


def _put_back(step: ResolverStep) -> None:
    """The former file to its place: itself, or one like it where its second name is gone."""
    former = step.former
    if former.kind == "missing":
        step.path.unlink(missing_ok=True)
    elif os.path.lexists(step.backup):
        step.backup.rename(step.path)
    elif former.kind == "symlink":
        step.draft.symlink_to(os.fsdecode(former.content))
        step.draft.rename(step.path)
    else:
        _write_draft(step.draft, former.content, former.mode)
        os.chown(step.draft, former.owner, former.group)
        os.utime(step.draft, ns=(former.accessed_ns, former.modified_ns))
        step.draft.rename(step.path)
    _sync_directory(step.path)


def _restore_rewritten(step: ResolverStep) -> list[str]:
    current = _read(step.path)
    former = step.former
    torn = current in {
        step.ours + former.content[len(step.ours) :],
        former.content + step.ours[len(former.content) :],
    }
    if current != former.content:
        if current != step.ours and not torn:
            return _keep_theirs(step, current)
        _rewrite(step.path, former.content)
    if step.path.stat().st_mtime_ns != former.modified_ns:
        os.utime(step.path, ns=(former.accessed_ns, former.modified_ns))
    return []


def _keep_theirs(step: ResolverStep, current: bytes | None) -> list[str]:
    """Somebody rewrote the file while it was ours: what they wrote stays, what is ours goes."""
    text = _text(current)
    if is_ours(text) or str(step.plan.nameserver) in text:
        rest = without_ours(text, step.plan)
        if rest is None:
            if step.way == "rewrite":
                _rewrite(step.path, step.former.content)
            else:
                _put_back(step)
            return []
        _rewrite(step.path, rest.encode("latin-1"))
    if step.way == "replace":
        step.backup.unlink(missing_ok=True)
    return [f"{step.path} was changed by somebody else meanwhile: that change stays"]


def mend_resolver(path: Path = RESOLV_CONF) -> list[str]:
    """Put back what a session left behind of which not even a journal is left (power cut).

    Only while no session runs on this machine. Raises DnsError where that fails.
    """
    backup = backup_of(path)
    try:
        if is_ours(_text(_read_plain(path))) and os.path.lexists(backup):
            backup.rename(path)
            return [f"{path} was put back, which a session had changed that was cut off"]
    except OSError as error:
        raise DnsError(
            f"the former {path} can't be put back: {error.strerror}", hint=_hint(error)
        ) from error
    return []


# --- reading ---


def _kind(path: Path) -> Literal["file", "symlink", "bind-mount", "missing"]:
    if path.is_symlink():
        return "symlink"
    if not path.exists():
        return "missing"
    return "bind-mount" if _is_mount_point(path) else "file"


def _is_mount_point(path: Path) -> bool:
    """proc_pid_mountinfo(5): the fifth word of a line is a mount point, with octal escapes."""
    mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    wanted = os.fsencode(path.parent.resolve() / path.name)
    return any(_unescape(words[4]) == wanted for line in mounts if len(words := line.split()) > 4)


def _unescape(word: bytes) -> bytes:
    for escaped, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n")):
        word = word.replace(escaped, plain)
    return word.replace(b"\\134", b"\\")


def _former(path: Path, *, follow: bool) -> Former:
    try:
        status = path.stat() if follow else path.lstat()
    except FileNotFoundError:
        return Former("missing", b"", 0, 0, 0, 0, 0)
    is_link = stat.S_ISLNK(status.st_mode)
    return Former(
        kind="symlink" if is_link else "file",
        content=os.fsencode(path.readlink()) if is_link else _read(path),
        mode=stat.S_IMODE(status.st_mode),
        owner=status.st_uid,
        group=status.st_gid,
        accessed_ns=status.st_atime_ns,
        modified_ns=status.st_mtime_ns,
    )


def _read(path: Path) -> bytes:
    """The content, symlinks followed; nothing for a missing file. Raises DnsError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DnsError(f"{path} can't be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise DnsError(f"{path} has more than {MAX_BYTES} bytes: that is no resolver's file")
    return content


def _read_plain(path: Path) -> bytes | None:
    """The content of a regular file; None for a symlink, which is never ours, and for nothing."""
    return _read(path) if not path.is_symlink() and path.exists() else None


def _text(content: bytes | None) -> str:
    """Any octets are text in Latin-1, and the same octets again when written."""
    return (content or b"").decode("latin-1")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
