"""Killed at any line of the host part, with its client, a helper leaves what the next one mends."""

import os
import signal
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from host_sandbox import ETC, differences, file_state, host_state, run_in_sandbox
from test_host_undo import PODS, RESOLVERS, SEARCH, SERVICES, make_resolver

from ktnet.host.door import Door
from ktnet.host.netlink import open_netlink
from ktnet.host.plan import LinkPlan
from ktnet.host.resolver_plan import ResolverPlan

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("kind", ["file", "bind mount"])
def test_killed_at_some_lines_the_next_helper_mends(kind: str) -> None:
    run_in_sandbox(killed_at_each_line, kind, "37")


@pytest.mark.soak
@pytest.mark.parametrize("kind", RESOLVERS)
@pytest.mark.timeout(1200)
def test_killed_at_every_single_line_the_next_helper_mends(kind: str) -> None:
    run_in_sandbox(killed_at_each_line, kind, "1", limit_s=1200.0)


def killed_at_each_line(kind: str, stride: str) -> None:
    make_resolver(kind)
    tun, peer = IPv4Address("198.19.0.1"), IPv4Address("198.19.0.2")

    def whole_session() -> None:
        with open_netlink() as netlink:
            door = Door(netlink)
            descriptor, udp, tcp = door.open_link(LinkPlan("ktnet0", tun, peer))
            door.capture([SERVICES, PODS], ResolverPlan(tun, SEARCH))
            door.capture([SERVICES], ResolverPlan(tun, SEARCH))
            door.release()
            os.close(descriptor)
            udp.close()
            tcp.close()

    def mend() -> None:
        with open_netlink() as netlink:
            Door(netlink).facts()

    def state() -> object:
        """Much as host_state, without starting `ip` for it."""
        with open_netlink() as netlink:
            network = (netlink.links(), netlink.addresses(), netlink.routes())
        files = sorted(p for d in (ETC, Path("/run")) for p in d.rglob("*") if not p.is_dir())
        return network, [(str(path), file_state(path)) for path in files]

    in_child(whole_session)  # makes the directories, so that they are no difference
    before, all_before = state(), host_state()
    deaths, line = 0, 1
    while in_child(killed_after, line, whole_session) == -signal.SIGKILL:
        assert in_child(mend) == 0
        assert state() == before, f"killed at line {line}"
        deaths, line = deaths + 1, line + int(stride)
    assert deaths > 20
    assert differences(all_before, host_state()) == []
    print(f"killed {deaths} times, up to line {line}")


def in_child(function: Callable[..., None], *arguments: object) -> int:
    """Runs it in a forked process; its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function(*arguments)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_after(lines: int, function: Callable[[], None]) -> None:
    """Runs it, and kills this process at the given number of lines of the host part."""
    left = lines

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal left
        if "ktnet/host/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    function()
