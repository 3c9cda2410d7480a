"""Running labs as they are found, and entered by commands.

Every `ktnet lab exec` loads this, and little else.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NoReturn

from ktnet.errors import HostPermissionError, NotFound, UsageError
from ktnet.lab.node.syscalls import CLONE_NEWNET, CLONE_NEWNS, setns
from ktnet.lab.state import LabDirectory, LabState, LaptopState


def require_root() -> None:
    """Namespaces, bridges and mounts take root."""
    if os.geteuid() != 0:
        raise HostPermissionError("the lab needs root", hint="run it with sudo")


def find_lab(name: str) -> tuple[LabDirectory, LabState]:
    """A running lab; raises NotFound."""
    directory = LabDirectory(name)
    state = directory.read_running()
    if state is None:
        raise NotFound(f"no lab {name!r} is running", hint=f"ktnet lab up --name {name}")
    return directory, state


def find_laptop(name: str, number: int) -> tuple[LabDirectory, LaptopState]:
    """A laptop of a running lab, counted from 1; raises NotFound."""
    require_root()
    directory, state = find_lab(name)
    if not 1 <= number <= len(state.laptops):
        raise NotFound(f"lab {name!r} has {len(state.laptops)} laptop(s), no laptop {number}")
    return directory, state.laptops[number - 1]


def run_in_laptop(name: str, number: int, command: list[str]) -> NoReturn:
    """Becomes `command`, in a laptop's namespaces, with KUBECONFIG set."""
    directory, laptop = find_laptop(name, number)
    here = Path.cwd()
    try:
        enter(laptop.holder.pid)
    except OSError as error:
        raise NotFound(f"{laptop.name} can't be entered: {error}") from error
    if not laptop.holder.is_alive():
        raise NotFound(f"{laptop.name} has just gone")
    with contextlib.suppress(OSError):
        os.chdir(here)  # entering a mount namespace leads to its root
    environment = {
        **{key: value for key, value in os.environ.items() if key.lower() not in _PROXIES},
        "KUBECONFIG": str(directory.kubeconfig),
    }
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 -- what the user asked for
    except FileNotFoundError as error:
        raise UsageError(f"{command[0]}: no such command") from error
    except PermissionError as error:
        raise UsageError(f"{command[0]}: {error.strerror}") from error


_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
"""A proxy of the host's network can't be reached from a laptop."""


def enter(pid: int) -> None:
    """Moves this process into the network and mount namespaces of the laptop held by `pid`.

    For a process with one thread, before it executes what is to run on the laptop. Raises
    OSError.
    """
    descriptor = os.pidfd_open(pid)
    try:
        setns(descriptor, CLONE_NEWNET | CLONE_NEWNS)
    finally:
        os.close(descriptor)
