"""Names through the whole path: queries per second, and how long one takes.

    sudo .venv/bin/python bench/dns.py [--via direct|port-forward] [--queries 20000] [--json]

Brings up a lab and connects its laptop. From there it asks the proxy over UDP for one name again
and again ("cached"), and for names that nobody has asked for ("uncached": each goes to the
cluster's DNS and back): one query at a time for the times, 32 at once for the rate.
"""

import argparse
import json
import os
import socket
import statistics
import struct
import time
from pathlib import Path

from ktnet.lab.harness import Lab, open_connection, open_lab

AT_ONCE = 32
TIMEOUT_S = 5.0
TRIES = 3
"""As resolvers do with what isn't answered: by UDP it may get lost."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--via", choices=["direct", "port-forward"], default="port-forward")
    parser.add_argument("--queries", type=int, default=20000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with (
        open_lab(f"bench-{os.getpid()}") as lab,
        open_connection(lab, "--via", options.via, show=lambda _: None),
    ):
        result = measure_all(lab, options.queries)
    if options.json:
        print(json.dumps({"via": options.via, **result}, indent=2))
        return
    for kind, figures in result.items():
        for how, figure in figures.items():
            print(
                f"{kind:9} {how:14} {figure['rate_q_s']:8.0f} q/s  "
                f"p50 {figure['p50_ms']:6.2f} ms  p99 {figure['p99_ms']:6.2f} ms"
            )


def measure_all(lab: Lab, queries: int, laptop: int = 1) -> dict[str, dict[str, dict[str, float]]]:
    """By kind of name and by how many are asked for at once."""
    return {
        kind: {
            "one at a time": measure(lab, kind, queries // 10, 1, laptop),
            f"{AT_ONCE} at once": measure(lab, kind, queries, AT_ONCE, laptop),
        }
        for kind in ("cached", "uncached")
    }


def measure(lab: Lab, kind: str, queries: int, at_once: int, laptop: int) -> dict[str, float]:
    """Rate and percentiles."""
    times_s, took_s = lab.call(ask_all, kind, queries, at_once, laptop=laptop)
    cuts = statistics.quantiles(times_s, n=100)
    return {"rate_q_s": queries / took_s, "p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}


def ask_all(kind: str, queries: int, at_once: int) -> tuple[list[float], float]:
    """How long each of so many queries took, with so many under way; and all of them (s)."""
    times_s = []
    sent_s: dict[int, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect((find_nameserver(), 53))
        start_s = time.monotonic()
        number = again = 0
        while len(times_s) < queries:
            while number < queries and len(sent_s) < at_once:
                sent_s[number & 0xFFFF] = time.monotonic()
                sock.send(build_query(kind, number))
                number += 1
            try:
                answer = sock.recv(65535)
            except TimeoutError:
                if (again := again + 1) > TRIES:
                    raise
                for unanswered in sent_s:
                    sock.send(build_query(kind, unanswered))
                continue
            (id_, flags) = struct.unpack_from("!2H", answer)
            if flags & 0xF != (0 if kind == "cached" else 3):
                raise RuntimeError(f"response code {flags & 0xF}")
            if id_ in sent_s:  # and not the second answer to what was asked again
                times_s.append(time.monotonic() - sent_s.pop(id_))
        return times_s, time.monotonic() - start_s


def find_nameserver() -> str:
    """The first nameserver that this machine has."""
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("nameserver"))


def build_query(kind: str, number: int) -> bytes:
    """A query for a name that is remembered, or for one that is new and isn't there."""
    label = b"tomcat" if kind == "cached" else b"n%d-%d" % (number, os.getpid())
    header = struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0)
    labels = (label, b"demo", b"svc", b"cluster", b"local")
    name = b"".join(bytes((len(each),)) + each for each in labels)
    return header + name + b"\0" + struct.pack("!2H", 1, 1)


if __name__ == "__main__":
    main()
