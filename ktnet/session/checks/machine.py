"""This machine: Python, the packages, the device, and the right to use it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from ktnet.errors import HostPermissionError, KtnetError, UsageError
from ktnet.host.channel import build_missing_sudo
from ktnet.host.sandbox import find_limit, try_sandbox
from ktnet.host.tun import DEVICE, build_missing_right, open_device
from ktnet.session.checks.result import Check, fail, ok, skip, warn

OLDEST_PYTHON = (3, 11)
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(.*)")

Needs = Literal["host", "sandbox", "nothing"]
"""What a command takes of this machine: its network changed, a network of its own, or neither."""


def check_machine(needs: Needs) -> Iterator[Check]:
    """Everything that can be told without root and without the cluster. For a process with one
    thread."""
    yield _check_python()
    yield _check_packages()
    if needs == "nothing":
        yield skip("tun", "this command changes nothing of this machine")
        return
    device = _check_device(by_helper=needs == "host" and os.geteuid() != 0)
    yield device
    if needs == "host":
        yield _check_rights()
        yield _check_user_namespaces()
    elif device.result != "fail":
        yield _check_sandbox()


def _check_python() -> Check:
    if sys.version_info < OLDEST_PYTHON:
        return fail(
            "python",
            UsageError(f"Python {platform.python_version()} is too old", hint="3.11 or newer"),
        )
    return ok("python", f"Python {platform.python_version()} on {platform.system()}")


def _check_packages() -> Check:
    missing, found = [], []
    for text in requires("ktnet") or ():
        if "extra ==" in text:
            continue
        match = _REQUIREMENT.match(text)
        name = match[1] if match else text
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return fail(
            "packages",
            UsageError(f"not installed: {', '.join(missing)}", hint="install ktnet anew with pip"),
        )
    return ok("packages", ", ".join(found))


def _check_device(*, by_helper: bool) -> Check:
    try:
        os.close(open_device())
    except HostPermissionError as error:
        if by_helper and isinstance(error.__cause__, PermissionError):
            return skip("tun", f"{DEVICE} is root's alone, and so for the helper to open")
        return fail("tun", error)
    return ok("tun", f"{DEVICE} can be opened")


def _check_rights() -> Check:
    if os.geteuid() == 0:
        if has_net_admin():
            return ok("rights-here", "root, with NET_ADMIN")
        return fail("rights-here", build_missing_right())
    sudo = shutil.which("sudo")
    if sudo:
        return ok("rights-here", f"an ordinary user; {sudo} will start the helper")
    return fail("rights-here", build_missing_sudo())


def has_net_admin() -> bool:
    """CAP_NET_ADMIN (12) in the effective set (proc_pid_status(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 12 & 1)
    return False


def _check_user_namespaces() -> Check:
    limit = find_limit()
    if limit is not None:
        setting, remedy = limit
        return warn("user-namespaces", f"{setting}, which only `ktnet exec` minds", remedy)
    return ok("user-namespaces", "ordinary users can make them, for `ktnet exec`")


def _check_sandbox() -> Check:
    try:
        try_sandbox()
    except KtnetError as error:
        return fail("user-namespaces", error)
    return ok("user-namespaces", "a network of its own can be made for the command")
