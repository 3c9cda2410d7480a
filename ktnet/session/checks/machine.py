"""This machine: Python, the packages, the device, and the right to use it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from ktnet.errors import HostPermissionError, UsageError
from ktnet.session.checks.result import Check, fail, ok, skip, warn

OLDEST_PYTHON = (3, 11)
TUN = Path("/dev/net/tun")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(.*)")
_USERNS_LIMITS = {
    "/proc/sys/kernel/unprivileged_userns_clone": "1",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0",
}
"""What these have to say for an ordinary user to make a user namespace, where they exist."""


def check_machine(*, needs_tun: bool) -> Iterator[Check]:
    """Everything that can be told without root and without the cluster."""
    yield _check_python()
    yield _check_packages()
    if not needs_tun:
        yield skip("tun", "this command changes nothing of this machine")
        return
    yield _check_device()
    yield _check_rights()
    yield _check_user_namespaces()


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


def _check_device() -> Check:
    try:
        mode = TUN.stat().st_mode
    except OSError as error:
        return fail(
            "tun",
            HostPermissionError(
                f"{TUN}: {error.strerror}",
                hint="modprobe tun; in a container, --device /dev/net/tun; or use --mode proxy",
            ),
        )
    if not stat.S_ISCHR(mode):
        return fail("tun", HostPermissionError(f"{TUN} is no device", hint="mknod it anew"))
    return ok("tun", f"{TUN} is there")


def _check_rights() -> Check:
    if os.geteuid() == 0:
        if has_net_admin():
            return ok("rights-here", "root, with NET_ADMIN")
        return fail(
            "rights-here",
            HostPermissionError(
                "root without NET_ADMIN, as in a container that was not given it",
                hint="--cap-add NET_ADMIN; or use --mode proxy",
            ),
        )
    sudo = shutil.which("sudo")
    if sudo:
        return ok("rights-here", f"an ordinary user; {sudo} will start the helper")
    return fail(
        "rights-here",
        HostPermissionError(
            "an ordinary user, and there is no sudo",
            hint="use --mode proxy, which needs no rights; or start as root",
        ),
    )


def has_net_admin() -> bool:
    """CAP_NET_ADMIN (12) in the effective set (proc_pid_status(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 12 & 1)
    return False


def _check_user_namespaces() -> Check:
    for path, wanted in _USERNS_LIMITS.items():
        try:
            found = Path(path).read_text().strip()
        except OSError:
            continue
        if found != wanted:
            setting = path.removeprefix("/proc/sys/").replace("/", ".")
            return warn(
                "user-namespaces",
                f"{setting} is {found}: ordinary users can't make them",
                f"only rootless use needs them; sysctl -w {setting}={wanted} allows it",
            )
    try:
        most = int(Path("/proc/sys/user/max_user_namespaces").read_text())
    except (OSError, ValueError):
        most = 1
    if most == 0:
        return warn(
            "user-namespaces", "user.max_user_namespaces is 0", "only rootless use needs them"
        )
    return ok("user-namespaces", "ordinary users can make them")
