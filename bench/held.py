"""Connections that are only held: memory for each thousand, and ten thousand of them.

    sudo .venv/bin/python bench/held.py [--paths tun,ssh]

Each has echoed a byte, and does so again at the end: they are held, not forgotten.
"""

import argparse
import json
import subprocess

from cluster import OpenWay, open_scene, open_ways, read_memory
from measures import ECHO, Figures, Way, start_load

SOME = 1000
LEFT_OUT = ("raw", "sshuttle", "sshuttle_nlc", "websocket")
"""sshuttle waits by select(2), which knows no descriptor above 1,023, and looks at all connections
for each packet: 800 took it more than two minutes."""

MANY = 10_000
MANY_ON = ("tun", "fwd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", default="ssh,tun,fwd")
    options = parser.parse_args()
    with open_scene() as scene, open_ways(scene, options.paths.split(",")) as opened:
        for measure, by_way in measure_held(opened).items():
            print(measure)
            for name, figures in by_way.items():
                line = "  ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
                print(f"  {name:14} {line}")


def measure_held(opened: list[OpenWay]) -> dict[str, dict[str, Figures]]:
    """By count and way."""
    ways = [each.way for each in opened if each.way.name not in LEFT_OUT]
    return {
        f"held_{SOME}": {way.name: measure_way(way, SOME) for way in ways},
        f"held_{MANY}": {way.name: measure_way(way, MANY) for way in ways if way.name in MANY_ON},
    }


def measure_way(way: Way, count: int) -> Figures:
    """MiB at each end with that many open, and what a thousand of them take."""
    before = read_memory(way)
    holder = start_load(way, "hold", ECHO, "--streams", count, stdin=subprocess.PIPE)
    opened = json.loads(holder.stdout.readline() or '{"open": 0, "took_s": 0}')
    after = read_memory(way)
    output, _ = holder.communicate("")
    alive = json.loads(output)["alive"] if output else 0
    more = {
        name.replace("mib", "mib_per_1000"): (mib - before[name]) * 1000 / count
        for name, mib in after.items()
    }
    return {"alive": alive, "took_s": opened["took_s"], **after, **more}


if __name__ == "__main__":
    main()
