from __future__ import annotations

import pytest

from ktnet.shadow.resolver import parse_nameservers


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 10.96.0.10\nsearch a.svc.cluster.local\noptions ndots:5\n", ["10.96.0.10"]),
        ("# nameserver 1.1.1.1\n;nameserver 1.1.1.1\nnameserver\t::1 \n", ["::1"]),
        ("nameserver fe80::1%eth0\n", ["fe80::1%eth0"]),
        ("".join(f"nameserver 10.0.0.{n}\n" for n in range(5)), [f"10.0.0.{n}" for n in range(3)]),
        ("nameserver\nnameserver nonsense\nnameservers 1.2.3.4\n", ["127.0.0.1"]),
        ("", ["127.0.0.1"]),
    ],
)
def test_nameservers_of_resolv_conf(text, servers):
    assert parse_nameservers(text) == servers
