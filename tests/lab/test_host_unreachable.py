"""Unreachable routes belong to no device: they go with the session even so, whatever ends it."""

import asyncio
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from host_sandbox import differences, host_state, ip, run, run_in_sandbox
from test_host_undo import PODS, SERVICES, kill_both_helpers

from ktnet.errors import HostNetworkError
from ktnet.host.client import Host, open_host
from ktnet.host.plan import plan_host
from ktnet.host.unreachable import plan_unreachable

pytestmark = pytest.mark.lab

SERVICES6 = IPv6Network("fd00:10:96::/112")
PODS6 = IPv6Network("fd00:10:244::/56")


def ours() -> list[str]:
    return [each["dst"] for each in ip("-6", "route", "show", "proto", "107")]


async def capture(host: Host) -> None:
    facts = await host.facts()
    plan = plan_host(facts, [SERVICES, PODS], ipv6=[SERVICES6, PODS6])
    await host.open_link(plan)
    await host.capture(plan)
    assert set(ours()) == {str(SERVICES6), str(PODS6)}
    await host.capture(replace(plan, unreachable=(SERVICES6,)))
    assert ours() == [str(SERVICES6)]


def test_a_normal_end() -> None:
    run_in_sandbox(normal_end)


def normal_end() -> None:
    before = host_state()

    async def session() -> None:
        async with open_host() as host:
            await capture(host)

    asyncio.run(session())
    assert differences(before, host_state()) == []


def test_killed_helpers_are_mended_by_the_next_one() -> None:
    run_in_sandbox(killed)


def killed() -> None:
    before = host_state()

    async def session() -> None:
        async with open_host() as host:
            await capture(host)
            kill_both_helpers()
            with pytest.raises(HostNetworkError):
                await host.run_watch()

    asyncio.run(session())
    assert ours() == []
    assert differences(before, host_state()) == []


def test_what_is_this_machines_stays() -> None:
    run_in_sandbox(own_ipv6)


def own_ipv6() -> None:
    run("ip", "-6", "address", "add", "fd00:10:244:3::7/64", "dev", "lan", "nodad")

    async def session() -> None:
        async with open_host() as host:
            facts = await host.facts()
            kept, said = plan_unreachable(
                facts, [SERVICES6, PODS6, IPv6Network("2000::/3")], [IPv6Address("fd00:10:96::1")]
            )
            assert kept == ()
            assert "fd00:10:244:3::/64 in it is a subnet of this machine" in said[0]
            assert "2000::/3 is wider than any cluster's networks" in said[1]

    asyncio.run(session())
