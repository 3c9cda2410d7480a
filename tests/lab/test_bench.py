"""The benchmarks run, and what they measure is not below what was promised."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.alone]

BENCH = Path(__file__).parents[2] / "bench"
LEAST_RATIO = 0.12


def test_throughput_beside_raw_veth() -> None:
    done = subprocess.run(
        [sys.executable, BENCH / "throughput.py", "--rounds", "5", "--mib", "128", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    ratios = json.loads(done.stdout[done.stdout.index("{") :])["ratios"]
    print(ratios)
    assert ratios["throughput_up_vs_veth_verified"] >= LEAST_RATIO
    assert ratios["throughput_down_vs_veth_verified"] >= LEAST_RATIO


def test_requests_that_a_router_carries() -> None:
    """By its own processor time, which others on the machine hardly change; latency they do."""
    done = subprocess.run(
        [sys.executable, BENCH / "router.py", "--seconds", "0.3"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    print(found)
    assert found["http1"]["requests_per_cpu_second"] >= 2000
    assert found["http2"]["requests_per_cpu_second"] >= 1000
