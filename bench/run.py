"""Everything, or (--quick) what is checked in CI: ratios against those that are checked in.

    sudo .venv/bin/python bench/run.py [--quick]

Writes bench/results/bench.json, bench.md and plots, and prints the tables of bench.md; --quick
writes quick.json only, and fails where a ratio is 15 % worse than in bench/expected.json.
"""

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cluster
import distance
import dns
import held
import leg
from measures import MEASURES
from peers import find_sshd
from plots import draw
from rounds import Round, show

from ktnet.lab.harness import Lab

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TOLERANCE = 0.15

PARTS = {
    "leg": "The SSH leg alone",
    "lab": "A lab cluster",
    "held": "Connections that are only held",
    "names": "Names",
    "distance": "A cluster far away",
}

QUICK_STARTS, QUICK_ROUNDS = 5, 2
"""Of one start's seven rounds, the ratios went from 0.86 to 1.45 between runs of the same code."""

LEG_PATHS = ["ssh", "ktnet", "bound"]
LEG = [name for name in MEASURES if not name.endswith(("_8", "_64")) and name != "connect"]
"""The lab's ways have the others: minutes are what is short here."""

NAMES = 4000
"""Queries of each kind."""

QUICK = ["up_1", "down_1", "round_trip", "connections", "round_trip_under_up"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.35)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if options.quick:
        return run_quick()
    result: dict[str, Any] = {**describe_machine(), "took_s": {}, "ratios": {}}
    try:
        measure_all(result, options.rounds, options.seconds)
    finally:
        # What there is when something fails has taken minutes, too.
        result["load_after"] = os.getloadavg()[0]
        write(result)
    return 0


def measure_all(result: dict[str, Any], rounds: int, seconds: float) -> None:
    """Adds part after part to `result`."""
    add(result, "leg", lambda: run_leg(rounds, seconds, LEG, LEG_PATHS))
    with cluster.open_scene() as scene:
        with cluster.open_ways(scene) as ways:
            measures = list(MEASURES)
            add(result, "lab", lambda: cluster.measure(ways, rounds, seconds, measures), "lab_")
            add(result, "held", lambda: {"medians": held.measure_held(ways)})
            add(result, "names", lambda: {"medians": measure_names(scene.lab)})
        add(result, "distance", lambda: distance.measure(scene))


def add(result: dict[str, Any], part: str, find: Callable[[], dict], prefix: str = "") -> None:
    """What is found, its ratios with a prefix; and how long that took."""
    print(PARTS[part], file=sys.stderr)
    start_s = time.monotonic()
    found = find()
    result["took_s"][part] = round(time.monotonic() - start_s)
    result["ratios"] |= {prefix + name: each for name, each in found.pop("ratios", {}).items()}
    result[part] = found.pop("medians")
    result |= found


def write(result: dict[str, Any]) -> None:
    """JSON, Markdown and plots; prints the tables."""
    (RESULTS / "bench.json").write_text(json.dumps(result, indent=2) + "\n")
    table = build_markdown(result)
    (RESULTS / "bench.md").write_text(table)
    draw(result, RESULTS)
    print(table)


def run_leg(*arguments: Any) -> dict:
    """In a process of its own, which leaves this network, and is let end what it has started."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(leg.run, *arguments).result()


def measure_names(lab: Lab) -> Round:
    """Queries through the whole path, by the laptop of `ktnet connect`."""
    found = dns.measure_all(lab, NAMES, cluster.LAPTOPS["tun"])
    return {
        f"names_{kind}": {f"tun, {how}": figures for how, figures in by_how.items()}
        for kind, by_how in found.items()
    }


def run_quick() -> int:
    """0: nothing has become 15 % worse. What seems to have is measured again, and has only where it
    is so twice: on a machine that others load too, one run in six may seem worse by chance."""
    try:
        find_sshd()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"LEFT OUT: the benchmark, which needs OpenSSH's server: {error}", file=sys.stderr)
        return 0
    expected = json.loads((HERE / "expected.json").read_text())
    failures = measure_quickly(expected)
    if failures:
        again = measure_quickly(expected)
        failures = {name: again[name] for name in failures if name in again}
    for name, failure in failures.items():
        print(f"WORSE: {name} {failure}", file=sys.stderr)
    return 1 if failures else 0


def measure_quickly(expected: dict[str, dict[str, float]]) -> dict[str, str]:
    """Shows and keeps what was found; see `compare`."""
    found = run_leg(QUICK_ROUNDS, 0.5, QUICK, ["ssh", "ktnet"], QUICK_STARTS)
    result = {**describe_machine(), **found}
    (RESULTS / "quick.json").write_text(json.dumps(result, indent=2) + "\n")
    show(found)
    return compare(found["ratios"], expected)


def compare(found: dict[str, float], expected: dict[str, dict[str, float]]) -> dict[str, str]:
    """What is worse than expected, by name: below "at_least", or above "at_most"."""
    low = {
        name: f"is {found[name]:.2f}, expected {least:.2f} or more"
        for name, least in expected["at_least"].items()
        if found[name] < least * (1 - TOLERANCE)
    }
    high = {
        name: f"is {found[name]:.2f}, expected {most:.2f} or less"
        for name, most in expected["at_most"].items()
        if found[name] > most * (1 + TOLERANCE)
    }
    return low | high


def describe_machine() -> dict:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def build_markdown(result: dict) -> str:
    """Tables of medians and ratios."""
    machine = f"Linux {result['kernel']}, Python {result['python']}, {result['processors']} cores"
    load = f"load {result['load']:.1f} before and {result['load_after']:.1f} after"
    words = "Medians of interleaved rounds; only ratios within one run count."
    lines = ["# Benchmarks", "", f"{result['when']}, {machine}, {load}. {words}"]
    if "ceiling_mbit" in result:
        lines.append(f"A distant link passes {result['ceiling_mbit']:.0f} Mbit/s by itself.")
    for name, title in PARTS.items():
        if name not in result:
            continue
        lines += ["", f"## {title}", "", f"Took {result['took_s'][name]} s."]
        for measure, by_path in result[name].items():
            # In their order, though not all ways have all of them.
            names = [
                n for n in dict.fromkeys(n for f in by_path.values() for n in f) if n != "count"
            ]
            lines += ["", f"### {measure}", "", f"| path | {' | '.join(names)} |"]
            lines.append("|---" * (len(names) + 1) + "|")
            for path, figures in by_path.items():
                cells = (f"{figures[n]:.4g}" if n in figures else "" for n in names)
                lines.append(f"| {path} | {' | '.join(cells)} |")
    lines += ["", "## Ratios", "", "| name | ratio |", "|---|---|"]
    lines += [f"| {name} | {ratio:.3f} |" for name, ratio in sorted(result["ratios"].items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
