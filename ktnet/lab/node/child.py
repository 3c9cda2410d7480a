"""What a fork of the zygote does until it has become the process that was asked for.

It never returns. What goes wrong on the way is written to a pipe that a successful execve closes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import termios
from typing import NoReturn

from ktnet.lab.node.launch import Identity, Launch, parse_launch_message
from ktnet.lab.node.root import enter_new_root, layer_over_node
from ktnet.lab.node.seccomp import build_filter
from ktnet.lab.node.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    PR_SET_NO_NEW_PRIVS,
    drop_capabilities,
    filter_system_calls,
    prctl,
    set_capabilities,
    setns,
    unshare,
)

OPEN_FILES = 1 << 20
"""Soft and hard limit in a container; what containerd's service file leads to on most systems."""

START_FAILED = 128
"""Exit code of a container whose program could not be started, as runc and kubelet have it."""

MOST_COMPLAINT_BYTES = 4096


def become(
    specification: int,
    complaints: int,
    streams: tuple[int, int, int],
    joined: list[int],
    staging: str,
) -> NoReturn:
    """Turns this process into what the descriptor `specification` (a Launch) says.

    `complaints` is the pipe for what goes wrong, `streams` are stdin, stdout and stderr, and
    `joined` the namespaces (or one pidfd) to enter.
    """
    try:
        _prepare_and_execute(specification, complaints, streams, joined, staging)
    except BaseException as error:
        os.write(complaints, build_complaint(error))
    finally:
        os._exit(START_FAILED)


def build_complaint(error: BaseException) -> bytes:
    """`ERRNO TEXT`, with 0 where no call failed; for `parse_complaint`."""
    number = error.errno if isinstance(error, OSError) and error.errno else 0
    return f"{number} {error}".encode(errors="replace")[:MOST_COMPLAINT_BYTES]


def parse_complaint(data: bytes) -> tuple[int, str]:
    """(errno or 0, text)."""
    number, _, text = data.decode(errors="replace").partition(" ")
    return int(number), text


def _prepare_and_execute(
    specification: int,
    complaints: int,
    streams: tuple[int, int, int],
    joined: list[int],
    staging: str,
) -> None:
    with open(specification, "rb") as file:  # closes the descriptor
        launch = parse_launch_message(file.read())
    for descriptor in joined:
        _join(descriptor, launch)
    if launch.new_network:
        unshare(CLONE_NEWNET)
    if launch.mount == "new":
        unshare(CLONE_NEWNS)
        enter_new_root(staging, launch.entries, read_only=launch.read_only_root)
    elif launch.mount == "layer":
        unshare(CLONE_NEWNS)
        layer_over_node(launch.entries)
    _arrange_streams(streams, terminal=launch.terminal)
    if not launch.argv:
        _wait_forever(complaints)
    _allow_many_files()
    os.umask(0o022)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, at its start
        signal.signal(ignored, signal.SIG_DFL)
    _assume(launch.identity)
    os.chdir(launch.directory)
    _execute(launch)


def _join(descriptor: int, launch: Launch) -> None:
    """A namespace, or (where the mount namespace is joined too) all of a process's."""
    if launch.mount == "joined":
        # The pid namespace was joined before the fork: it only counts for children.
        setns(descriptor, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
    else:
        setns(descriptor, 0)


def _arrange_streams(streams: tuple[int, int, int], *, terminal: bool) -> None:
    # First out of the way of 0, 1 and 2, which any of them may be.
    safe = [fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 3) for stream in streams]
    for number, stream in enumerate(safe):
        os.dup2(stream, number, inheritable=True)
    os.setsid()
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _wait_forever(complaints: int) -> NoReturn:
    """Holds the namespaces; done when it is killed."""
    os.chdir("/")
    os.close(complaints)
    os.closerange(3, 1024)
    while True:
        signal.pause()


def _allow_many_files() -> None:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    except (ValueError, OSError):
        # Root without CAP_SYS_RESOURCE, as in some containers: what there is must do.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _assume(identity: Identity) -> None:
    """From here on this process is who the pod's security context says."""
    if identity.filtered and identity.may_gain_privileges:
        # Only root may, where privileges can be gained: before it is root no more.
        filter_system_calls(build_filter(os.uname().machine))
    drop_capabilities(identity.capabilities)
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    set_capabilities(identity.capabilities if identity.uid == 0 else 0)
    if not identity.may_gain_privileges:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if identity.filtered:
            filter_system_calls(build_filter(os.uname().machine))


def _execute(launch: Launch) -> None:
    """execve, with the program looked up in the container's own PATH; returns only by raising."""
    program = launch.argv[0]
    directories = launch.environment.get("PATH", "").split(":")
    candidates = [program] if "/" in program else [f"{each}/{program}" for each in directories]
    failure = ProgramError(
        errno.ENOENT,
        f'exec: "{program}": stat {program}: no such file or directory'
        if "/" in program
        else f'exec: "{program}": executable file not found in $PATH',
    )
    for path in candidates:
        try:
            os.execve(path, launch.argv, launch.environment)  # noqa: S606 -- no shell is wanted
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            failure = ProgramError(error.errno, f'exec: "{program}": {reason}')
    raise failure


class ProgramError(OSError):
    """The container could be made, but its program not be executed; worded as by runc."""

    def __str__(self) -> str:
        return str(self.strerror)
