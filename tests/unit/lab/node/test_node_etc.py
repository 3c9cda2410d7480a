"""Resolver files by dnsPolicy, and the hosts file."""

from ipaddress import IPv4Address

import pytest

from ktnet.lab.node.etc import build_hosts, build_resolver

SEARCH = "search demo.svc.cluster.local svc.cluster.local cluster.local\n"


def pod(**spec):
    return {"metadata": {"name": "p", "namespace": "demo"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, f"{SEARCH}nameserver 10.96.0.10\noptions ndots:5\n"),
        ({"dnsPolicy": "Default"}, "nameserver 192.168.64.53\n"),
        ({"dnsPolicy": "None"}, ""),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["192.0.2.1"],
                    "searches": ["a.example", "b.example"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            "search a.example b.example\nnameserver 192.0.2.1\noptions ndots:2 edns0\n",
        ),
        (
            {"dnsConfig": {"searches": ["x"], "options": [{"name": "ndots", "value": "1"}]}},
            f"{SEARCH.strip()} x\nnameserver 10.96.0.10\noptions ndots:1\n",
        ),
    ],
)
def test_resolver(spec, expected):
    assert build_resolver(pod(**spec)) == expected


def test_hosts():
    address = IPv4Address("10.244.0.7")
    assert build_hosts(pod(), address).endswith("\n10.244.0.7\tp\n")
    named = build_hosts(pod(hostname="db-0", subdomain="db"), address)
    assert named.endswith("\n10.244.0.7\tdb-0.db.demo.svc.cluster.local\tdb-0\n")
    aliases = [{"ip": "192.0.2.9", "hostnames": ["one", "two"]}]
    assert build_hosts(pod(hostAliases=aliases), address).endswith(
        "\n\n# Entries added by HostAliases.\n192.0.2.9\tone\ttwo\n"
    )
