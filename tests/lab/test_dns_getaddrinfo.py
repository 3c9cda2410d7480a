"""The C library's own resolver against the proxy, on port 53 of a network namespace."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

NAMESERVERS = Path(__file__).parent.parent / "unit" / "dns"

INSIDE = """
import asyncio, json, os, socket, sys

sys.path.insert(0, sys.argv[1])
from ipaddress import IPv4Address, IPv4Network
from ktnet.wire.service import Service
from dnslib import A, PTR, QTYPE, RR, DNSRecord
from nameservers import answer_known, bind_both, open_nameserver
from ktnet.dns.policy import build_policy
from ktnet.dns.proxy import open_proxy

NAME = "tomcat.demo.svc.cluster.local."
BIG = "big.demo.svc.cluster.local."


async def ask_cluster(message):
    query = DNSRecord.parse(message)
    asked.append(str(query.q.qname).lower())
    reply = query.reply(ra=0)
    if asked[-1] == NAME:
        if query.q.qtype == QTYPE.A:
            reply.add_answer(RR(NAME, QTYPE.A, ttl=30, rdata=A("10.96.0.7")))
    elif asked[-1] == BIG:
        if query.q.qtype == QTYPE.A:
            for number in range(100):
                reply.add_answer(RR(BIG, QTYPE.A, ttl=30, rdata=A(f"10.9.0.{number}")))
    elif asked[-1] == "7.0.96.10.in-addr.arpa.":
        reply.add_answer(RR(asked[-1], QTYPE.PTR, ttl=30, rdata=PTR(NAME)))
    else:
        reply.header.rcode = 3
    return bytes(reply.pack())


def look_up(name):
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return [error.args[0]]
    return sorted({address[0] for *_, address in found})


async def main():
    results = {}
    policy = build_policy(
        "cluster.local",
        [IPv4Network("10.96.0.0/16")],
        lambda *key: {("demo", "tomcat"): Service(False, (IPv4Address("10.96.0.7"),))}.get(key),
    )
    udp, tcp = bind_both("127.0.0.1", 53)
    async with (
        open_nameserver(answer_known, address="127.0.0.53", port=53) as office,
        open_proxy(udp, tcp, policy, ask_cluster, [IPv4Address("127.0.0.53")]) as proxy,
    ):
        for name in sys.argv[2:]:
            asked.clear()
            office.asked.clear()
            found = await asyncio.to_thread(look_up, name)
            results[name] = [found, sorted(set(asked)), sorted(set(office.names()))]
        results["reverse"] = (await asyncio.to_thread(socket.gethostbyaddr, "10.96.0.7"))[0]
        results["failures"] = proxy.counters.cluster_failures + proxy.counters.outside_failures
    print(json.dumps(results))


asked = []
asyncio.run(main())
"""


def look_up(tmp_path: Path, *names: str) -> dict[str, list]:
    """What getaddrinfo finds for each name, and what cluster and office were asked for it."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(
        "nameserver 127.0.0.1\nsearch demo.svc.cluster.local svc.cluster.local cluster.local\n"
    )
    services = tmp_path / "nsswitch.conf"
    services.write_text("hosts: dns\n")
    shell = (
        f"ip link set lo up && mount --bind {resolver} /etc/resolv.conf"
        f' && mount --bind {services} /etc/nsswitch.conf && exec "$@"'
    )
    command = [sys.executable, "-c", INSIDE, str(NAMESERVERS), *names]
    result = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", shell, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_names_as_users_type_them(tmp_path: Path) -> None:
    full = "tomcat.demo.svc.cluster.local"
    big = [f"10.9.0.{number}" for number in range(100)]
    found = look_up(
        tmp_path, full, "tomcat", "tomcat.demo", "Tomcat.Demo.Svc", "big", "example.com", "foo.io"
    )
    inside = [["10.96.0.7"], [full + "."], []]
    assert found[full] == inside
    assert found["tomcat"] == inside
    assert found["tomcat.demo"] == inside
    assert found["Tomcat.Demo.Svc"] == inside
    assert found["big"] == [sorted(big), ["big.demo.svc.cluster.local."], []]  # by TCP
    assert found["example.com"] == [["192.0.2.1", "2001:db8::1"], [], ["example.com."]]
    # A name that nobody has: the office first, then what the search list makes of it.
    assert found["foo.io"][0] == [-2]
    assert found["foo.io"][2] == ["foo.io."]
    assert found["reverse"] == full
    assert found["failures"] == 0
