"""Throughput through the tunnel beside raw veth, interleaved in one run.

    sudo .venv/bin/python bench/throughput.py [--via direct|port-forward] [--rounds 5] [--mib 256]

Brings up a lab with two laptops: the first is connected, the second runs the same server as the
cluster's `streams` Service, one veth pair and a bridge away. Each round measures raw and tunnel,
up and down, in turn; printed are medians in MB/s and the median of the rounds' ratios, and as JSON
with --json.

"verified" streams are hashed at both ends, which is what bounds the raw path then (about a core for
each GB/s); "plain" ones are only counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from functools import partial

from ktnet.lab import traffic
from ktnet.lab.harness import Lab, open_connection, open_lab

SINK, SOURCE, DISCARD = 7002, 7003, 7006
PATHS = {"raw": "192.168.64.11", "tunnel": "streams.demo"}
KINDS = ("verified", "plain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--via", choices=["direct", "port-forward"], default="direct")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with open_lab(f"bench-{os.getpid()}", "--laptops", "2") as lab:
        server = subprocess.Popen(
            lab.exec(sys.executable, "-m", "ktnet.lab.workloads.streams", laptop=2)
        )
        try:
            with open_connection(lab, "--via", options.via):
                rounds = [measure(lab, options.mib * 2**20) for _ in range(options.rounds)]
        finally:
            server.kill()
            server.wait()
    result = summarise(rounds)
    if options.json:
        print(json.dumps({"via": options.via, "rounds": rounds, **result}, indent=2))
    else:
        show(options.via, result)


def measure(lab: Lab, size: int) -> dict[str, float]:
    """One round: MB/s by "path, direction, kind"."""
    rates = {}
    for kind in KINDS:
        verify = kind == "verified"
        for path, host in PATHS.items():
            up = lab.call(traffic.upload, host, SINK if verify else DISCARD, size)
            down = lab.call(partial(traffic.download, verify=verify), host, SOURCE, size)
            rates |= {f"{path} up {kind}": up.rate_mb_s, f"{path} down {kind}": down.rate_mb_s}
    return rates


def summarise(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        "mb_s": {name: statistics.median(r[name] for r in rounds) for name in rounds[0]},
        "ratios": {
            f"throughput_{way}_vs_veth_{kind}": statistics.median(
                r[f"tunnel {way} {kind}"] / r[f"raw {way} {kind}"] for r in rounds
            )
            for way in ("up", "down")
            for kind in KINDS
        },
    }


def show(via: str, result: dict[str, dict[str, float]]) -> None:
    print(f"via {via}, medians")
    for name, rate in result["mb_s"].items():
        print(f"  {name:21} {rate:7.0f} MB/s")
    for name, ratio in result["ratios"].items():
        print(f"  {name:34} {ratio:.3f}")


if __name__ == "__main__":
    main()
