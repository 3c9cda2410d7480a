"""Why a target can't be reached, as real kernels say it, arrives at the client as a cause.

one network namespace:  lo up, a veth with 10.9.0.1/24 whose neighbours never answer,
and routes that refuse: unreachable, prohibit, blackhole; everything else has no route.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]

NETWORK = """
set -e
ip link set lo up
ip link add quiet type veth peer name deaf
ip link set deaf up
ip addr add 10.9.0.1/24 dev quiet
ip link set quiet up
ip neigh add 10.9.0.66 lladdr 02:00:00:00:00:66 dev quiet nud permanent
ip route add unreachable 10.10.0.0/24
ip route add prohibit 10.11.0.0/24
ip route add blackhole 10.12.0.0/24
exec "$@"
"""

SCENARIO = """
import asyncio, json, sys
sys.path.insert(0, "tests/unit/link")
from tunnel_ends import open_tunnel, open_flow
import ktnet.stream.target as target

async def scenario():
    found = {}
    async with open_tunnel() as (link, _):
        for host in sys.argv[1:]:
            failure = await open_flow(link, 80, host).until_failed()
            found[host] = failure.name
    print(json.dumps(found))

def quickly(host, port, _timeout_s, told, dialling=target.Dialling):
    return dialling(host, port, 5.0 if host != "10.9.0.66" else 0.3, told)

import ktnet.shadow.server
ktnet.shadow.server.Dialling = quickly
asyncio.run(scenario())
"""


def test_each_cause_arrives():
    expected = {
        "127.0.0.1": "REFUSED",
        "10.9.0.7": "HOST_UNREACHABLE",  # nobody answers ARP, after 3 s
        "10.10.0.1": "HOST_UNREACHABLE",
        "10.11.0.1": "PROHIBITED",
        "10.12.0.1": "NETWORK_UNREACHABLE",
        "10.13.0.1": "NETWORK_UNREACHABLE",
        "10.9.0.66": "TIMED_OUT",
        "fd00::1": "NETWORK_UNREACHABLE",
        "255.255.255.255": "NETWORK_UNREACHABLE",
    }
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", NETWORK, "sh", sys.executable, "-c", SCENARIO, *expected],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
