"""What listens on this machine, by the kernel's list."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

import pytest
from tunnel_ends import run

from ktnet.link.localport import LocalPort, parse_listeners

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   2: 0100007F:0035 0200007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1
"""

TABLE6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0
   1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 0
"""


@pytest.fixture(autouse=True)
def ssh_path():
    """No SSH here: once is enough."""


def test_listeners_are_those_that_come_before_all_others():
    assert list(parse_listeners(TABLE.splitlines())) == [
        (ip_address("127.0.0.1"), 8080),
        (ip_address("0.0.0.0"), 22),
    ]
    assert list(parse_listeners(TABLE6.splitlines())) == [
        (ip_address("::1"), 8080),
        (ip_address("127.0.0.1"), 80),
    ]
    assert list(parse_listeners([])) == []


@pytest.mark.parametrize(
    ("at", "host", "heard"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "localhost", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("::", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
        ("::1", "::1", True),
        ("0.0.0.0", "::1", False),
    ],
)
def test_a_port_is_listened_on_where_its_address_is(at, host, heard):
    family = socket.AF_INET6 if ":" in at else socket.AF_INET
    with socket.create_server((at, 0), family=family, dualstack_ipv6=at == "::") as server:
        port = server.getsockname()[1]
        assert run(LocalPort(host, port).look()) is heard
    assert run(LocalPort(host, port).look()) is False


def test_comings_and_goings_are_noticed():
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        local = LocalPort("127.0.0.1", port)
        watch = asyncio.create_task(local.run_watch())
        for _ in range(2):
            await local.wait_for(listening=False)
            with socket.create_server(("127.0.0.1", port)):
                await asyncio.gather(*(local.wait_for(listening=True) for _ in range(3)))
        watch.cancel()

    run(scenario())


def test_a_name_that_nobody_knows_is_no_listener():
    assert run(LocalPort("nobody.invalid", 80).look()) is False
