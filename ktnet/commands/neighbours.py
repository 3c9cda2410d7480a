"""Sessions of this machine's other users, for root.

Their sockets lie in directories that those users write to, so nothing there is believed: each
directory is opened without following a link and has to belong to the user whom it is named after,
who also has to be the one that listens (SO_PEERCRED, unix(7)). A session is asked for its state and
for nothing else, for a moment, and of its answer a few words are taken.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ktnet import control
from ktnet.errors import RemoteProtocolError

REGISTRIES = (
    (Path("/run/user"), re.compile(r"(\d+)"), ("ktnet", "sessions")),
    (Path("/tmp"), re.compile(r"ktnet-(\d+)"), ("sessions",)),  # noqa: S108  nothing there is believed
)
"""Where `ktnet.control.runtime_directory` puts them: a place, whose a directory there is by its
name, and what lies below it."""

PATIENCE_S = 1.0
"""For one session."""
ALL_PATIENCE_S = 3.0
"""For all of them: who hangs on purpose shall not keep root waiting."""

_SOCKET = re.compile(r"(\d+)\.sock")
_WORDS = ("command", "namespace", "context", "state", "since", "session", "pod", "via")
_LONGEST = 200

Json = dict[str, Any]


def list_neighbours(own: Collection[int], registries: Collection[Any] = REGISTRIES) -> list[Json]:
    """What sessions of users other than the `own` uids say of themselves, each with "user".

    Only for root: others may not look into those directories, and are given nothing.
    """
    if os.geteuid() != 0 or not control.IS_POSSIBLE:
        return []
    deadline_s = time.monotonic() + ALL_PATIENCE_S
    found = [
        told
        for place, pattern, below in registries
        for uid, directory in _open_homes(place, pattern, below)
        if uid not in own
        for told in _ask_all(directory, uid, deadline_s)
    ]
    return sorted(found, key=lambda each: (each["user"], each["pid"]))


def _open_homes(
    place: Path, pattern: re.Pattern[str], below: tuple[str, ...]
) -> Iterator[tuple[int, int]]:
    """uid and descriptor of each user's registry, closed when the next one is asked for."""
    with suppress(OSError):
        for name in sorted(os.listdir(place)):  # noqa: PTH208  names, for openat(2)
            match = pattern.fullmatch(name)
            if match is None:
                continue
            uid = int(match[1])
            with suppress(OSError), _open_chain(place, (name, *below), uid) as directory:
                yield uid, directory


@contextmanager
def _open_chain(place: Path, names: tuple[str, ...], uid: int) -> Iterator[int]:
    """The last directory of the chain; raises OSError unless each is the user's alone."""
    directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            following = os.open(name, flags, dir_fd=directory)
            os.close(directory)
            directory = following
            status = os.fstat(directory)
            if status.st_uid != uid or status.st_mode & 0o22:
                raise PermissionError(f"{name} is not of the user {uid} alone")
        yield directory
    finally:
        os.close(directory)


def _ask_all(directory: int, uid: int, deadline_s: float) -> Iterator[Json]:
    for name in sorted(os.listdir(directory)):
        match = _SOCKET.fullmatch(name)
        if match is None:
            continue
        pid = int(match[1])
        try:
            yield _pick(_ask(directory, name, uid, deadline_s), pid, uid)
        except TimeoutError:
            yield _pick({"state": "not answering"}, pid, uid)
        except (OSError, RemoteProtocolError):  # gone, no socket, or nobody's to be believed
            continue


def _ask(directory: int, name: str, uid: int, deadline_s: float) -> Json:
    """The status of the session with this socket. Raises OSError or RemoteProtocolError."""
    now_s = time.monotonic()
    deadline_s = min(now_s + PATIENCE_S, deadline_s)
    if now_s >= deadline_s:
        raise TimeoutError
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(found)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != uid:
            raise PermissionError(f"{name} is no socket of the user {uid}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(deadline_s - now_s)
            # By the very inode that was looked at, whatever the name leads to by now.
            connection.connect(f"/proc/self/fd/{found}")
            if control.read_peer(connection)[1] != uid:
                raise PermissionError(f"{name} is another user's")
            return control.ask(connection, {"do": "status"}, deadline_s=deadline_s)
    finally:
        os.close(found)


def _pick(told: Json, pid: int, uid: int) -> Json:
    """Of an answer, what is shown: words that are fit for a terminal."""
    words = {key: _clean(told[key]) for key in _WORDS if isinstance(told.get(key), str)}
    return {"user": _name(uid), "pid": pid, **words}


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST])


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
