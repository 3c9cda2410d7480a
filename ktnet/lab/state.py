"""The directory of a lab, /run/ktnet-lab/NAME: who runs it, how to reach it, what to clean up."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ktnet.errors import HostPermissionError, UsageError
from ktnet.lab.kubeconfig import write_private

BASE = Path("/run/ktnet-lab")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


@dataclass(frozen=True)
class Process:
    """A process that can't be mistaken for a later one of the same id."""

    pid: int
    start: int
    """Field 22 of /proc/PID/stat: clock ticks since boot (proc(5))."""

    def is_alive(self) -> bool:
        return read_start(self.pid) == self.start


@dataclass(frozen=True)
class LaptopState:
    """A laptop of a running lab."""

    name: str
    address: str
    holder: Process
    """Keeps the laptop's namespaces."""
    netns_cookie: int
    """SO_NETNS_COOKIE of its network namespace: unique until the machine reboots."""


@dataclass(frozen=True)
class LabState:
    """What a running lab says about itself."""

    daemon: Process
    laptops: tuple[LaptopState, ...] = ()


class LabDirectory:
    """The files of one lab."""

    def __init__(self, name: str, base: Path = BASE) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name for a lab",
                hint="up to 40 lower-case letters, digits and '-', neither first nor last a '-'",
            )
        self.name = name
        self.path = base / name
        self.state = self.path / "state.json"
        self.kubeconfig = self.path / "kubeconfig"
        self.log = self.path / "log"
        self.socket = self.path / "control.sock"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Only one process at a time starts or ends a lab of this name.

        Makes the directory; where it is empty afterwards, it goes again.
        """
        descriptor = self._open_locked()
        try:
            yield
        finally:
            # While the lock is held, so that nobody waits for a directory that has gone.
            for path in (self.path, self.path.parent):
                with contextlib.suppress(OSError):
                    path.rmdir()
            os.close(descriptor)

    def _open_locked(self) -> int:
        while True:
            try:
                for path in (self.path.parent, self.path):
                    with contextlib.suppress(FileExistsError):
                        path.mkdir(mode=0o700)
                descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except PermissionError as error:
                raise HostPermissionError(
                    f"{self.path} can't be made: {error.strerror}", hint="the lab needs root"
                ) from error
            except FileNotFoundError:
                continue  # somebody ended a lab between two of the calls
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._is_still(descriptor):
                return descriptor
            os.close(descriptor)

    def _is_still(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def write_state(self, state: LabState) -> None:
        write_private(self.state, json.dumps(asdict(state)))

    def read_state(self) -> LabState | None:
        """What the lab last said about itself; None where there is none."""
        try:
            data = json.loads(self.state.read_text())
        except FileNotFoundError:
            return None
        return LabState(
            Process(**data["daemon"]),
            tuple(
                LaptopState(**{**laptop, "holder": Process(**laptop["holder"])})
                for laptop in data["laptops"]
            ),
        )

    def read_running(self) -> LabState | None:
        """The state of a lab whose daemon lives."""
        state = self.read_state()
        return state if state is not None and state.daemon.is_alive() else None

    def empty(self) -> None:
        """Removes all files; the directory itself goes with the lock."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def list_labs(base: Path = BASE) -> list[str]:
    """The names of all labs that have a directory."""
    try:
        return sorted(path.name for path in base.iterdir() if _NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []


def read_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None for one that isn't, or is dead."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, spaces and parentheses too.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def identify(pid: int) -> Process:
    """A living process; raises ProcessLookupError."""
    start = read_start(pid)
    if start is None:
        raise ProcessLookupError(f"there is no process {pid}")
    return Process(pid, start)
