"""Rights of a process on this machine: given up, and given back to the one who called sudo.

prctl(2), capabilities(7). Not for a process with other threads that need what is given up.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path

from ktnet.errors import HostPermissionError

CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER = 0, 1, 2, 3
NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 10, 12, 13
_SETPCAP = 8
SETFCAP = 31
"""Without it nobody may be root in a user namespace that is made (user_namespaces(7), since Linux
5.12)."""

OF_THE_HELPER = (CHOWN, DAC_OVERRIDE, FOWNER, NET_BIND_SERVICE, NET_ADMIN, NET_RAW)
"""Links and routes, port 53 bound to a device, and a resolver's file that is as it was: whoever
owned it."""

OF_A_ROOT_CLIENT = (DAC_OVERRIDE, DAC_READ_SEARCH)
"""In containers a kubeconfig is often mounted from the home of somebody who isn't root."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_POSSIBLE = 63

_libc = ctypes.CDLL(None, use_errno=True)


def step_down(
    environment: MutableMapping[str, str] = os.environ, *, also: Iterable[int] = ()
) -> str:
    """Keep no more of root's rights than a client needs; returns what to say of it, or "".

    Root under sudo becomes the user who called it (uid, gid, groups, HOME, XDG_RUNTIME_DIR);
    plain root, as in containers, stays uid 0 with hardly a capability, and those that are `also`
    wanted. Does nothing for others.
    Raises HostPermissionError where that can't be.
    """
    if os.geteuid() != 0:
        return ""
    uid, gid = _caller(environment)
    try:
        if uid == 0:
            keep_only((*OF_A_ROOT_CLIENT, *also))
            return ""
        _become(uid, gid, environment)
    except OSError as error:
        raise HostPermissionError(
            f"root's rights can't be given up: {error.strerror}",
            hint="run without sudo: ktnet asks for what it needs",
        ) from error
    return f"running as {environment['USER']}, who called sudo"


def is_below_sudo(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Whether this process got root's rights from a user by sudo."""
    return os.geteuid() == 0 and _caller(environment)[0] != 0


def find_user(environment: MutableMapping[str, str] = os.environ) -> int:
    """The uid that `step_down` leaves this process with."""
    uid = os.geteuid()
    return uid if uid != 0 else _caller(environment)[0]


def _caller(environment: MutableMapping[str, str]) -> tuple[int, int]:
    try:
        return int(environment["SUDO_UID"]), int(environment["SUDO_GID"])
    except (KeyError, ValueError):
        return 0, 0


def _become(uid: int, gid: int, environment: MutableMapping[str, str]) -> None:
    """sudo(8), in reverse."""
    try:
        entry = pwd.getpwuid(uid)
        name, home = entry.pw_name, entry.pw_dir
        os.initgroups(name, gid)
    except KeyError:
        name, home = str(uid), "/"
        os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # Else /proc/self stays root's, and this process could not open its own descriptors there.
    _prctl(_PR_SET_DUMPABLE, 1)
    environment.update(HOME=home, USER=name, LOGNAME=name)
    runtime = Path(f"/run/user/{uid}")
    with suppress(OSError):
        if runtime.stat().st_uid == uid:
            environment["XDG_RUNTIME_DIR"] = str(runtime)


def keep_only(capabilities: Iterable[int]) -> None:
    """Give up all other capabilities, for this process and whatever it executes, for good.

    Does nothing for a process that has none to give up. Raises OSError.
    """
    kept = set(capabilities)
    if not _has(_SETPCAP):
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        return
    for number in range(_LAST_POSSIBLE + 1):
        if number not in kept and _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            _prctl(_PR_CAPBSET_DROP, number)
    _, permitted = _capabilities()
    mask = permitted & sum(1 << number for number in kept)
    _set_capabilities(mask)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def end_with_parent(number: int) -> None:
    """Have this signal sent to this process when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _has(capability: int) -> bool:
    return bool(_capabilities()[0] >> capability & 1)


def _capabilities() -> tuple[int, int]:
    """Effective and permitted, as bit masks: proc_pid_status(5)."""
    status = Path("/proc/self/status").read_text().splitlines()
    found = {line.partition(":")[0]: line.partition(":")[2].strip() for line in status}
    return int(found["CapEff"], 16), int(found["CapPrm"], 16)


def _set_capabilities(mask: int) -> None:
    """capset(2): effective and permitted are `mask`, inheritable is nothing."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    if _libc.capset(header, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
