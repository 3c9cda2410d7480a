"""What is said of routes that overlap is what the kernel does, whatever rules ask other tables."""

import asyncio

import pytest
from host_sandbox import run, run_in_sandbox
from test_host_undo import PODS, SERVICES

from ktnet.host.client import open_host
from ktnet.host.plan import plan_host

pytestmark = pytest.mark.lab

IN_FORCE = "10.96.5.9"
SCENES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    # What others have set up; the device by which IN_FORCE goes; what is said.
    (("route add 10.96.5.0/24 dev vpn",), "vpn", "the route to 10.96.5.0/24 by vpn stays in force"),
    (("route add 10.0.0.0/8 dev vpn",), "ktnet0", "though the wider route to 10.0.0.0/8 by vpn"),
    (("route add 10.96.0.0/16 dev vpn metric 9000",), "ktnet0", "has a greater metric"),
    # As of tailscale: a table that is asked first.
    (
        ("route add 10.0.0.0/8 dev vpn table 52", "rule add lookup 52 priority 5270"),
        "vpn",
        "goes by route to 10.0.0.0/8 by vpn of table 52, which a rule asks before ours",
    ),
    (
        ("route add default dev vpn table 52", "rule add lookup 52 priority 5270"),
        "vpn",
        "ip rule add to 10.96.0.0/16 lookup main priority 5269",
    ),
    # As of wg-quick: the main table is asked first, but for its default route.
    (
        (
            "route add default dev vpn table 51820",
            "rule add not fwmark 51820 lookup 51820 priority 32765",
            "rule add lookup main suppress_prefixlength 0 priority 32764",
        ),
        "ktnet0",
        "",
    ),
    (
        ("route add 10.96.5.0/24 dev vpn table 99", "rule add lookup 99 priority 40000"),
        "ktnet0",
        "is captured, though table 99 has route to 10.96.5.0/24 by vpn",
    ),
    # Nobody asks it.
    (("route add 10.96.5.0/24 dev vpn table 98",), "ktnet0", ""),
    (
        ("route add 10.96.5.0/24 dev vpn table 97", "rule add from 192.0.2.1 lookup 97"),
        "ktnet0",
        "10.96.0.0/16 may go by route to 10.96.5.0/24 by vpn of table 97",
    ),
)


def test_what_is_said_is_so() -> None:
    run_in_sandbox(all_scenes)


def all_scenes() -> None:
    run("ip", "link", "add", "vpn", "type", "veth", "peer", "name", "far")
    run("ip", "address", "add", "172.20.0.1/30", "dev", "vpn")
    run("ip", "link", "set", "far", "up")
    run("ip", "link", "set", "vpn", "up")
    for commands, device, said in SCENES:
        for command in commands:
            run("ip", *command.split())
        asyncio.run(one_scene(device, said, str(commands)))
        for command in commands:
            run("ip", *command.replace(" add ", " delete ").split())


async def one_scene(device: str, said: str, scene: str) -> None:
    async with open_host() as host:
        plan = plan_host(await host.facts(), [SERVICES, PODS])
        await host.open_link(plan)
        await host.capture(plan)
        assert f"dev {device} " in run("ip", "route", "get", IN_FORCE), scene
        assert bool(said) == bool(plan.warnings), (scene, plan.warnings)
        assert any(said in text for text in plan.warnings or [""]), (scene, plan.warnings)
        if "ip rule add" in said:
            words = plan.warnings[0].partition("ip rule add ")[2].split()
            run("ip", "rule", "add", *words)
            assert "dev ktnet0 " in run("ip", "route", "get", IN_FORCE)
            run("ip", "rule", "delete", *words)
