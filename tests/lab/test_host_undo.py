"""However a session ends, links, addresses, routes, rules and the resolver's file are as before."""

import asyncio
import contextlib
import os
import signal
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from host_sandbox import (
    ETC,
    FORMER,
    RESOLV_CONF,
    differences,
    host_state,
    ip,
    run,
    run_in_sandbox,
    seconds_until,
    start_beside,
)

from ktnet.errors import HostNetworkError
from ktnet.host import client
from ktnet.host.client import Host, OpenLink, open_host
from ktnet.host.leftovers import find_leftovers
from ktnet.host.plan import HostPlan, plan_host

pytestmark = pytest.mark.lab

SERVICES = IPv4Network("10.96.0.0/16")
PODS = IPv4Network("10.244.0.0/16")
API_SERVER = IPv4Address("10.96.0.1")
SEARCH = ("demo.svc.cluster.local", "svc.cluster.local", "cluster.local")
RESOLVERS = ("file", "symlink", "dangling symlink", "missing", "bind mount", "read-only etc")
UNDONE_WITHIN_S = 1.0


def make_resolver(kind: str) -> None:
    """Makes /etc/resolv.conf what machines and containers have there."""
    elsewhere = Path("/run/elsewhere")
    match kind:
        case "symlink":
            elsewhere.write_text(FORMER)
            RESOLV_CONF.unlink()
            RESOLV_CONF.symlink_to("../run/elsewhere")
        case "dangling symlink":
            RESOLV_CONF.unlink()
            RESOLV_CONF.symlink_to("../run/nowhere")
        case "missing":
            RESOLV_CONF.unlink()
        case "bind mount":
            elsewhere.write_text(FORMER)
            elsewhere.chmod(0o644)
            run("mount", "--bind", str(elsewhere), str(RESOLV_CONF))
        case "read-only etc":
            elsewhere.write_text(FORMER)
            RESOLV_CONF.unlink()
            RESOLV_CONF.symlink_to("../run/elsewhere")
            run("mount", "-o", "remount,ro", str(ETC))


async def capture(host: Host) -> tuple[HostPlan, OpenLink]:
    plan = plan_host(await host.facts(), [SERVICES, PODS], [API_SERVER], SEARCH)
    link = await host.open_link(plan)
    await host.capture(plan)
    return plan, link


def helper_pid() -> int:
    """Of the one helper that holds this machine: its journal bears its pid."""
    (journal,) = Path("/run/ktnet/journal").glob("*.json")
    return int(journal.stem.partition("-")[0])


def supervisor_pid() -> int:
    """Of the process that would mend, were the helper killed."""
    stat = Path(f"/proc/{helper_pid()}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def kill_both_helpers() -> int:
    """SIGKILL for the helper and for its supervisor; the former's pid."""
    helper, supervisor = helper_pid(), supervisor_pid()
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(helper, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    return helper


def hold() -> None:
    """A client of its own process: captures, says so, waits to be ended."""

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            print("captured", flush=True)
            await host.run_watch()

    asyncio.run(session())


@contextlib.contextmanager
def holding() -> object:
    with start_beside(hold) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "captured\n"
            yield client
        finally:
            client.kill()


@pytest.mark.parametrize("kind", RESOLVERS)
def test_normal_end(kind: str) -> None:
    run_in_sandbox(normal_end, kind)


def normal_end(kind: str) -> None:
    make_resolver(kind)
    before = host_state()

    async def session() -> None:
        async with open_host() as host:
            facts = await host.facts()
            assert facts.resolver.kind == {
                "dangling symlink": "symlink",
                "bind mount": "bind-mount",
                "read-only etc": "symlink",
            }.get(kind, kind)
            plan, link = await capture(host)
            during = host_state()
            assert during["route6"] == before["route6"]
            assert during["rule"] == before["rule"]
            routed = {route["dst"] for route in ip("route") if route["dev"] == "ktnet0"}
            assert {"10.244.0.0/16", "10.96.128.0/17", "198.19.0.2"} <= routed
            assert run("ip", "route", "get", "10.96.0.10").split()[2] == "ktnet0"
            assert run("ip", "route", "get", "10.96.0.1").split()[2] == "192.168.64.1"
            lines = RESOLV_CONF.read_text().splitlines()
            assert lines[1] == f"nameserver {plan.link.address}"
            assert lines[2].startswith(f"search {' '.join(SEARCH)}")
            for listener in (link.dns_udp, link.dns_tcp):
                assert listener.getsockname() == (str(plan.link.address), 53)
                assert not listener.get_inheritable()
            assert not os.get_inheritable(link.tun_fd)
            # The session gives back what points at its parts, before those end.
            await host.release()
            await host.release()
            released = host_state()
            assert released["resolv.conf"] == before["resolv.conf"]
            assert released["etc"] == before["etc"]
            assert [r["dst"] for r in ip("route") if r["dev"] == "ktnet0"] == ["198.19.0.2"]
            await host.capture(plan)

    asyncio.run(session())
    assert differences(before, host_state()) == []


@pytest.mark.parametrize("kind", ["file", "bind mount", "dangling symlink"])
def test_sigkill_of_the_client_is_undone_in_a_second(kind: str) -> None:
    run_in_sandbox(sigkill_of_the_client, kind)


def sigkill_of_the_client(kind: str) -> None:
    make_resolver(kind)
    before = host_state()
    with holding() as client:
        captured = host_state()
        assert captured["resolv.conf"] != before["resolv.conf"]
        client.kill()
        took_s = seconds_until(lambda: host_state() == before, UNDONE_WITHIN_S)
    print(f"undone {took_s * 1000:.0f} ms after SIGKILL")


def test_sigterm_of_the_helper_undoes_and_tells_the_client() -> None:
    run_in_sandbox(sigterm_of_the_helper)


def sigterm_of_the_helper() -> None:
    before = host_state()

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            os.kill(helper_pid(), signal.SIGTERM)
            await asyncio.wait_for(host.run_watch(), 5)

    with pytest.raises(HostNetworkError, match="has ended"):
        asyncio.run(session())
    assert differences(before, host_state()) == []


@pytest.mark.parametrize("kind", ["file", "bind mount", "dangling symlink"])
def test_sigkill_of_the_helper_is_mended_by_its_supervisor(kind: str) -> None:
    run_in_sandbox(sigkill_of_the_helper, kind)


def sigkill_of_the_helper(kind: str) -> None:
    make_resolver(kind)
    before = host_state()

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            os.kill(helper_pid(), signal.SIGKILL)
            # The client learns of it when everything has been undone.
            with pytest.raises(HostNetworkError, match="has ended"):
                await asyncio.wait_for(host.run_watch(), 5)
            assert differences(before, host_state()) == []

    asyncio.run(session())
    assert differences(before, host_state()) == []


def test_sigkill_of_the_supervisor_ends_the_helper_which_undoes() -> None:
    run_in_sandbox(sigkill_of_the_supervisor)


def sigkill_of_the_supervisor() -> None:
    before = host_state()

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            os.kill(supervisor_pid(), signal.SIGKILL)
            with pytest.raises(HostNetworkError, match="has ended"):
                await asyncio.wait_for(host.run_watch(), 5)
            assert differences(before, host_state()) == []

    asyncio.run(session())


def test_sigkill_of_helper_and_supervisor_is_mended_by_the_client() -> None:
    run_in_sandbox(sigkill_of_helper_and_supervisor)


def sigkill_of_helper_and_supervisor() -> None:
    before = host_state()

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            kill_both_helpers()
            with pytest.raises(HostNetworkError, match="has ended"):
                await asyncio.wait_for(host.run_watch(), 5)
            assert host_state()["resolv.conf"] != before["resolv.conf"]

    asyncio.run(session())
    assert differences(before, host_state()) == []


def test_a_helper_that_hangs_is_replaced() -> None:
    run_in_sandbox(hanging_helper)


def hanging_helper() -> None:
    before = host_state()
    client.UNDO_TIME_S = 0.5  # in this sandbox's process

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            os.kill(helper_pid(), signal.SIGSTOP)
            await host.release()

    asyncio.run(asyncio.wait_for(session(), 30))
    assert differences(before, host_state()) == []


@pytest.mark.parametrize("kind", RESOLVERS)
def test_sigkill_of_both_is_mended_by_the_next_session(kind: str) -> None:
    run_in_sandbox(sigkill_of_both, kind)


def sigkill_of_both(kind: str) -> None:
    make_resolver(kind)
    before = host_state()
    with holding() as client:
        os.kill(client.pid, signal.SIGSTOP)
        helper = kill_both_helpers()
        client.kill()
        client.wait()
    seconds_until(lambda: not alive(helper), 5.0)
    assert len(find_leftovers()) == 1
    assert host_state()["resolv.conf"] != before["resolv.conf"]

    async def session() -> None:
        async with open_host() as host:
            facts = await host.facts()
            assert [note.partition(" (")[0] for note in facts.mended] == ["a former session"]
            assert differences(before, host_state()) == []
            await capture(host)

    asyncio.run(session())
    assert differences(before, host_state()) == []


def alive(pid: int) -> bool:
    """Whether it runs; not so as a zombie that nobody has asked about."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_others_changed_meanwhile_stays() -> None:
    run_in_sandbox(others_changes)


def others_changes() -> None:
    before = host_state()
    theirs = "nameserver 10.9.9.9\n"

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            (ETC / "new").write_text(theirs)
            (ETC / "new").rename(RESOLV_CONF)
            run("ip", "route", "delete", "10.244.0.0/16")
            run("ip", "route", "add", "10.244.0.0/16", "via", "192.168.64.9", "metric", "7022")

    asyncio.run(session())
    after = host_state()
    assert [key for key in before if before[key] != after[key]] == ["route", "resolv.conf"]
    assert RESOLV_CONF.read_text() == theirs
    (route,) = [r for r in after["route"] if r not in before["route"]]
    assert (route["dst"], route["gateway"]) == ("10.244.0.0/16", "192.168.64.9")


def test_a_cancelled_session_is_undone_before_the_cancellation_goes_on() -> None:
    run_in_sandbox(cancelled)


def cancelled() -> None:
    before = host_state()

    async def main() -> None:
        ready = asyncio.Event()

        async def session() -> None:
            async with open_host() as host:
                await capture(host)
                ready.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(session())
        await ready.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # Ctrl-C again: the undoing is under way
        with pytest.raises(asyncio.CancelledError):
            await task
        assert differences(before, host_state()) == []

    asyncio.run(main())


def test_cancelled_at_any_moment_of_the_start() -> None:
    run_in_sandbox(cancelled_early)


def cancelled_early() -> None:
    before = host_state()
    descriptors = open_descriptors()

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            await asyncio.Event().wait()

    async def cancel_after(delay_s: float) -> None:
        task = asyncio.create_task(session())
        await asyncio.wait([task], timeout=delay_s)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    for moment in range(15):
        asyncio.run(cancel_after(moment * 0.015))
        assert open_descriptors() == descriptors
    assert differences(before, host_state()) == []


def open_descriptors() -> list[str]:
    return [d.name for d in Path("/proc/self/fd").iterdir() if d.exists()]


def test_ctrl_c_in_the_terminal_reaches_only_the_client() -> None:
    run_in_sandbox(ctrl_c)


def ctrl_c() -> None:
    before = host_state()
    with holding() as client:
        helper = helper_pid()
        assert os.getsid(helper) != os.getsid(client.pid)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            os.kill(helper, number)
        assert alive(helper)
        os.kill(client.pid, signal.SIGINT)
        client.wait(10)
        assert not alive(helper)
        assert differences(before, host_state()) == []


def test_the_helper_hands_over_the_tun_and_keeps_nothing() -> None:
    run_in_sandbox(keeps_nothing)


def keeps_nothing() -> None:
    with holding():
        descriptors = Path(f"/proc/{helper_pid()}/fd").iterdir()
        targets = [str(descriptor.readlink()) for descriptor in descriptors]
        assert not any("tun" in target for target in targets), targets
        sockets = run("ss", "--no-header", "-lntup").splitlines()
        listeners = [line for line in sockets if "198.19.0.1%ktnet0:53" in line]
        assert len(listeners) == 2
        assert not any(f"pid={helper_pid()}," in line for line in listeners)
