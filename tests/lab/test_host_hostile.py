"""What somebody gets who may start the helper and asks it for more than any plan contains: nothing.

A real helper with root's rights, its bare socket, and requests that are well-formed.
"""

import json
import os
import socket
from ipaddress import IPv4Address
from typing import Any

import pytest
from host_sandbox import RESOLV_CONF, differences, host_state, ip, run, run_in_sandbox
from test_host_errors import answer, helper

from ktnet.errors import HostNetworkError, KtnetError, RemoteProtocolError
from ktnet.host.plan import LinkPlan
from ktnet.host.replies import Done, Reply
from ktnet.host.requests import FactsRequest, OpenRequest, ReleaseRequest, build_request

pytestmark = pytest.mark.lab

OWN, PEER = "198.19.0.1", "198.19.0.2"
TAKEN = [  # of a machine at 192.168.64.10/24
    ["0.0.0.0/0"],
    ["0.0.0.0/1", "128.0.0.0/1"],
    [f"{first}.0.0.0/8" for first in range(1, 224) if first not in {10, 127, 169, 192}],
    ["127.0.0.0/8"],
    ["127.0.0.53/32"],
    ["169.254.169.254/32"],
    ["224.0.0.0/24"],
    ["192.168.64.0/24"],
    ["192.168.64.0/25", "192.168.64.128/25"],
    ["192.168.64.128/25", "192.168.64.96/27"],
    ["192.168.0.0/16"],
    ["192.168.64.10/32"],
    ["192.168.64.1/32"],
    ["192.168.64.53/32"],
    ["192.168.64.2/32"],
    ["192.168.64.3/32"],
    ["172.20.0.0/17", "172.20.128.0/17"],
    ["172.20.0.7/32"],
    [f"10.0.{n // 256}.{n % 256}/32" for n in range(513)],
]


def open_link(ours: socket.socket, name: str, *own: str) -> Reply | list[int]:
    """Asks for a TUN: its descriptors, or what the helper says."""
    plan = LinkPlan(name, *map(IPv4Address, own))
    ours.send(build_request(2, OpenRequest(plan)))
    data, descriptors, _, _ = socket.recv_fds(ours, 10_000, 8)
    if descriptors:
        return descriptors
    fields = json.loads(data)
    return KtnetError(f"{fields['kind']}: {fields['message']}")


def capture(
    ours: socket.socket,
    routes: list[str],
    resolver: dict[str, Any] | None,
    unreachable: tuple[str, ...] = (),
) -> Reply:
    request = {"id": 3, "do": "capture", "routes": routes, "resolver": resolver}
    request["unreachable"] = unreachable
    return answer(ours, json.dumps(request).encode())[1]


def test_what_a_hostile_client_gets() -> None:
    run_in_sandbox(hostile_client)


def hostile_client() -> None:
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "address", "add", "172.20.0.7/16", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")
    ways = [word for hop in (2, 3) for word in ("nexthop", "via", f"192.168.64.{hop}")]
    run("ip", "route", "add", "10.50.0.0/16", *ways)
    before = host_state()
    with helper() as ours:
        refuse_links(ours)
        assert differences(before, host_state()) == []
        descriptors = open_link(ours, "ktnet0", OWN, PEER)
        assert isinstance(descriptors, list)
        opened = host_state()
        refuse_routes(ours, opened)
        refuse_names(ours, opened)
        refuse_ipv6(ours, opened)
        refuse_in_pieces(ours)
        for descriptor in descriptors:
            os.close(descriptor)
        answer(ours, build_request(4, ReleaseRequest()))
    assert differences(before, host_state()) == []


def refuse_links(ours: socket.socket) -> None:
    """The names and addresses of others; one that was taken since the client asked, too."""
    for name, own, peer in [
        ("lan", OWN, PEER),
        ("lo", OWN, PEER),
        ("ktnet0", "192.168.64.11", PEER),
        ("ktnet0", OWN, "192.168.64.1"),
        ("ktnet0", OWN, OWN),
    ]:
        assert "RemoteProtocolError" in str(open_link(ours, name, own, peer)), name
    answer(ours, build_request(1, FactsRequest()))
    run("ip", "address", "add", "198.19.0.9/24", "dev", "bridge")
    run("ip", "link", "add", "ktnet3", "type", "bridge")
    try:
        assert "198.19.0.1 is of 198.19.0.0/24" in str(open_link(ours, "ktnet0", OWN, PEER))
        assert "a link ktnet3 already" in str(open_link(ours, "ktnet3", "198.18.0.1", "198.18.0.2"))
    finally:
        run("ip", "link", "delete", "ktnet3")
        run("ip", "address", "delete", "198.19.0.9/24", "dev", "bridge")


def refuse_routes(ours: socket.socket, opened: dict[str, Any]) -> None:
    for routes in TAKEN:
        said = capture(ours, ["10.96.0.0/16", *routes], None)
        assert isinstance(said, HostNetworkError | RemoteProtocolError), routes
    assert differences(opened, host_state()) == []


def refuse_names(ours: socket.socket, opened: dict[str, Any]) -> None:
    good = {"nameserver": OWN, "search": ["demo.svc.cluster.local"]}
    for bad in [
        {"nameserver": "192.0.2.66"},
        {"nameserver": PEER},
        {"nameserver": "127.0.0.1"},
        {"search": ["a.example\nnameserver 192.0.2.66"]},
        {"search": ["a.example options:debug"]},
        {"search": ["."]},
        {"search": ["x" * 300]},
        {"search": [f"d{n}.example" for n in range(33)]},
        {"routing": ["~."]},
        {"routing": ["."]},
        {"routing": [f"d{n}.example" for n in range(257)]},
        {"options": ["debug"]},
    ]:
        said = capture(ours, ["10.96.0.0/16"], good | bad)
        assert type(said) is RemoteProtocolError, bad
    assert differences(opened, host_state()) == []


def refuse_ipv6(ours: socket.socket, opened: dict[str, Any]) -> None:
    run("ip", "-6", "address", "add", "fd01::5/64", "dev", "lan", "nodad")
    try:
        for network in [
            "::/0",
            "2000::/3",
            "::1/128",
            "::ffff:0:0/96",
            "fe80::/64",
            "ff02::/16",
            "fd01::/64",
            "fd01::5/128",
            "fd01::/48",
            "fd02::1/64",
        ]:
            said = capture(ours, [], None, (network,))
            assert isinstance(said, HostNetworkError | RemoteProtocolError), network
    finally:
        run("ip", "-6", "address", "delete", "fd01::5/64", "dev", "lan")
    assert differences(opened, host_state()) == []


def refuse_in_pieces(ours: socket.socket) -> None:
    """What may be captured in part isn't to be had by asking again for the rest."""
    assert type(capture(ours, ["192.168.64.128/25"], None)) is Done
    said = capture(ours, ["192.168.64.128/25", "192.168.64.96/27"], None)
    assert "most of 192.168.64.0/24, the subnet of this machine's lan" in str(said)
    assert [r["dst"] for r in ip("route", "show", "proto", "107")] == ["192.168.64.128/25"]
    assert RESOLV_CONF.read_text().startswith("# of the office")


def test_a_lan_that_comes_later_ends_nothing() -> None:
    run_in_sandbox(later_lan)


def later_lan() -> None:
    """What is captured stays; what would be new is held against the machine as it is now."""
    with helper() as ours:
        answer(ours, build_request(1, FactsRequest()))
        descriptors = open_link(ours, "ktnet0", OWN, PEER)
        assert isinstance(descriptors, list)
        assert type(capture(ours, ["10.96.0.0/16"], None)) is Done
        run("ip", "address", "add", "10.96.7.7/24", "dev", "lan")
        assert type(capture(ours, ["10.96.0.0/16", "10.244.0.0/16"], None)) is Done
        said = capture(ours, ["10.96.0.0/16", "10.96.7.0/25"], None)
        assert "this machine's own address" in str(said)
        assert type(capture(ours, ["10.96.0.0/16"], None)) is Done
        for descriptor in descriptors:
            os.close(descriptor)
