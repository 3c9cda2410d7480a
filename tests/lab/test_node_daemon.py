"""What is left of a node when its process is gone, however it went: nothing but files."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

DAEMON = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from node_scene import open_scene

async def main():
    async with open_scene(Path(sys.argv[1])) as node:
        await node.start("sleeper", {"command": ["sh", "-c", "sleep 600 & sleep 600"]})
        await node.start("shadowy", {"command": ["setsid", "sleep", "600"]},
                         securityContext={"runAsUser": 65534})
        process = await node.kubelet.exec(
            "demo", "sleeper", "main", ["sleep", "600"], stdin=False, tty=False)
        print(node.laptop.pid, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def start_daemon(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *("unshare", "--net", "--mount", "--propagation", "private"),
            *(sys.executable, "-c", DAEMON, str(directory), str(Path(__file__).parent)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, children of children included."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def network_state() -> object:
    def show(*what: str) -> object:
        done = subprocess.run(["ip", "-json", *what], capture_output=True, check=True)
        return json.loads(done.stdout or b"[]")

    return (
        [each["ifname"] for each in show("link")],
        show("route"),
        Path("/proc/mounts").read_text(),
    )


def open_processes(pids: list[int]) -> list[int]:
    """Pidfds of those that still are: one that was just passing may have ended already."""
    descriptors = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptors.append(os.pidfd_open(pid))
    return descriptors


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_everything_goes_with_the_daemon(how: str, tmp_path: Path) -> None:
    before = network_state()
    daemon = start_daemon(tmp_path)
    assert daemon.stdout is not None
    assert daemon.stdin is not None
    laptop = int(daemon.stdout.readline())
    family = descendants(daemon.pid)
    assert laptop in family
    descriptors = open_processes(family)
    try:
        # The zygote's two, the laptop, a shell with two sleeps, another sleep, the executed one.
        assert len(descriptors) >= 7
        if how == "killed":
            daemon.send_signal(signal.SIGKILL)
        else:
            daemon.stdin.close()
            assert daemon.wait(20) == 0
        for descriptor in descriptors:
            # A pidfd is readable when its process has ended.
            assert select.select([descriptor], [], [], 10)[0]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        daemon.kill()
        daemon.wait()
        daemon.stdin.close()
        daemon.stdout.close()
    assert network_state() == before
