"""The journal: what has to be undone, on disk before it is done.

One file per helper, /run/ktnet/journal/<pid>-<start time>.json, replaced as a whole at every
step. A helper keeps its file locked (flock(2)) as long as it lives; the kernel drops the lock with
the process, however that ends. So a file that can be locked is a dead helper's, in whatever pid
namespace that was. /run is emptied at every boot, as links and routes are.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ktnet.errors import HostNetworkError, HostPermissionError, RemoteProtocolError
from ktnet.host.leftovers import DIRECTORY
from ktnet.host.steps import MAX_RECORD_BYTES, Record, Step, build_record, parse_record


class Journal:
    """This helper's own journal. Nothing is on disk before the first `write`."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self.name = f"{os.getpid()}-{_start_time()}"
        self._path = directory / f"{self.name}.json"
        self._namespaces = namespaces()
        self._descriptor: int | None = None

    def write(self, steps: tuple[Step, ...]) -> None:
        """Record these steps; they may be made when this returns.

        Raises HostPermissionError or HostNetworkError (disk full): then none may be made.
        """
        net, mnt = self._namespaces
        content = build_record(Record(net, mnt, steps))
        draft = self._path.with_suffix(".new")
        try:
            descriptor = os.open(
                draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                # Locked before it has its name: at no time can somebody take it for a dead one's.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write_all(descriptor, content)
                draft.rename(self._path)
            except BaseException:
                os.close(descriptor)
                draft.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise HostNetworkError(
                f"the undo journal {self._path} can't be written: {error.strerror}",
                hint="without it nothing is changed, because a crash could not be undone",
            ) from error
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = descriptor
        _sync(self._path.parent)

    def remove(self) -> None:
        """Everything is undone."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True)
class Found:
    """A journal in the directory, and whether its helper lives.

    `record` is None for garbage, and for what another version of ktnet wrote.
    """

    path: Path
    alive: bool
    record: Record | None

    @property
    def pid(self) -> str:
        """Of its helper."""
        return self.path.stem.partition("-")[0]


@contextmanager
def open_directory(directory: Path = DIRECTORY) -> Iterator[Path]:
    """The directory of journals, made where it was missing, and locked against other helpers.

    Raises HostPermissionError where it can't be made or isn't root's alone.
    """
    for each in (directory.parent, directory):
        try:
            with suppress(FileExistsError):
                each.mkdir(mode=0o700)
            found = each.lstat()
            if stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700:
                # To be listed by everybody, so that leftovers can be seen; the files are root's.
                each.chmod(0o755)
        except OSError as error:
            raise HostPermissionError(
                f"the directory {each} for the undo journal can't be used: {error.strerror}"
            ) from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o22:
            raise HostPermissionError(
                f"{each} is not a directory that only root can write to",
                hint=f"see who made it, then remove it: ls -ld {each}",
            )
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(descriptor)


@contextmanager
def open_journals(directory: Path) -> Iterator[list[Found]]:
    """All journals; those of the dead stay locked meanwhile.

    The directory has to be locked. Raises HostPermissionError where one can't be read.
    """
    descriptors: list[int] = []
    try:
        yield _find_journals(directory, descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _find_journals(directory: Path, descriptors: list[int]) -> list[Found]:
    found = []
    for path in sorted(directory.glob("*.json")):
        try:
            descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            found.append(_look_at(path, descriptors[-1]))
        except FileNotFoundError:
            continue  # its helper has just finished
        except OSError as error:
            raise HostPermissionError(
                f"the undo journal {path} can't be read: {error.strerror}"
            ) from error
    return found


def _look_at(path: Path, descriptor: int) -> Found:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        alive = True
    else:
        # A living helper may have replaced the file since it was opened here.
        alive = not os.path.samestat(os.fstat(descriptor), path.lstat())
    try:
        record = parse_record(os.pread(descriptor, MAX_RECORD_BYTES + 1, 0))
    except RemoteProtocolError:
        record = None
    return Found(path, alive, record)


def remove_drafts(directory: Path) -> None:
    """Remove what helpers left behind that were killed while they wrote."""
    for draft in directory.glob("*.new"):
        if not Path("/proc", draft.stem.partition("-")[0]).exists():
            draft.unlink(missing_ok=True)


def namespaces() -> tuple[str, str]:
    """This process's network and mount namespace: a step is undone only where it was made."""
    own = Path("/proc/self/ns")
    return str((own / "net").readlink()), str((own / "mnt").readlink())


def _start_time() -> int:
    """Clock ticks from boot to this process's start: field 22 of proc_pid_stat(5)."""
    after_name = Path("/proc/self/stat").read_text(encoding="latin-1").rpartition(")")[2]
    return int(after_name.split()[19])


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
