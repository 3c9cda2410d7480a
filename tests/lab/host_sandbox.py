"""A machine to be changed: network and mount namespaces of a child process, and what they hold.

/etc is a small tmpfs with a resolv.conf of its own, /run an empty one; the network has a loopback
and a "LAN" (a veth, 192.168.64.10/24, with a default route). All of it goes with the process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ETC = Path("/etc")
RESOLV_CONF = ETC / "resolv.conf"
RUN = Path("/run")
FORMER = "# of the office\nnameserver 192.168.64.53\nsearch office.example\noptions timeout:2\n"
KEPT_IN_ETC = ("passwd", "group", "nsswitch.conf", "ld.so.cache")
UNSHARE = ("unshare", "--net", "--mount", "--propagation", "private")
LIMIT_S = 100.0


def run_in_sandbox(
    function: Callable[..., None], *arguments: str, limit_s: float = LIMIT_S
) -> None:
    """Runs a function of a test module in a machine of its own; its failed assertion is ours."""
    here = Path(__file__).parent
    program = (
        f"import sys; sys.path.insert(0, {str(here)!r}); import host_sandbox; "
        f"host_sandbox.prepare(); from {function.__module__} import {function.__name__} as test; "
        f"test(*{arguments!r})"
    )
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-W", "error", "-X", "dev", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=limit_s,
    )
    print(done.stdout)
    print(done.stderr)
    assert done.returncode == 0, done.stderr


def start_beside(function: Callable[..., None], *arguments: str) -> subprocess.Popen[str]:
    """Another process on the same machine, whose output can be read."""
    here = Path(__file__).parent
    program = (
        f"import sys; sys.path.insert(0, {str(here)!r}); "
        f"from {function.__module__} import {function.__name__} as main; main(*{arguments!r})"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def prepare() -> None:
    """Makes this process's namespaces the machine."""
    kept = {name: (ETC / name).read_bytes() for name in KEPT_IN_ETC if (ETC / name).exists()}
    for directory in (ETC, RUN):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(directory))
    for name, content in kept.items():
        (ETC / name).write_bytes(content)
    RESOLV_CONF.write_text(FORMER)
    os.utime(RESOLV_CONF, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
    for kind in ("all", "default"):  # a link-local address comes late, and would be a difference
        Path(f"/proc/sys/net/ipv6/conf/{kind}/addr_gen_mode").write_text("1")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "lan", "type", "veth", "peer", "name", "switch")
    run("ip", "link", "set", "switch", "up")
    run("ip", "address", "add", "192.168.64.10/24", "dev", "lan")
    run("ip", "link", "set", "lan", "up")
    run("ip", "route", "add", "default", "via", "192.168.64.1")


def run(*command: str) -> str:
    """A command's output; it has to succeed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def host_state() -> dict[str, Any]:
    """All that a session may change, for comparing before with after."""
    return {
        "link": [(link["ifindex"], link["ifname"]) for link in ip("link")],
        "address": [(a["ifname"], a["addr_info"]) for a in ip("address")],
        "route": ip("route", "show", "table", "all"),
        "route6": ip("-6", "route", "show", "table", "all"),
        "rule": ip("rule"),
        "etc": sorted(path.name for path in ETC.iterdir()),
        "run": sorted(str(path) for path in RUN.rglob("*") if not path.is_dir()),
        "resolv.conf": file_state(RESOLV_CONF),
    }


def ip(*what: str) -> Any:
    """`ip -json`, parsed."""
    return json.loads(run("ip", "-json", *what) or "[]")


def file_state(path: Path) -> Any:
    """Everything of a file that has to come back."""
    if not os.path.lexists(path):
        return None
    status = path.lstat()
    return {
        "what": str(path.readlink()) if path.is_symlink() else "file",
        "content": path.read_bytes() if path.exists() else None,
        "inode": (status.st_dev, status.st_ino, status.st_nlink),
        "mode": oct(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
        "modified": status.st_mtime_ns,
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [f"{k}: {before[k]!r} -> {after[k]!r}" for k in before if before[k] != after[k]]


def seconds_until(condition: Callable[[], bool], limit_s: float) -> float:
    """Polls until it holds; fails after `limit_s`."""
    start_s = time.monotonic()
    while not condition():
        assert time.monotonic() - start_s < limit_s, "it did not become true in time"
        time.sleep(0.005)
    return time.monotonic() - start_s
