"""A cluster far away: what each way makes of a link with a delay, a rate and losses.

    sudo .venv/bin/python bench/distance.py [--paths raw,tun] [--cases 100/200/0,250/50/1]

A case is a round trip in ms, Mbit/s and percent of lost packets. Each way's laptop has a link of
its own, made so by the lab (`ktnet lab fault packets`). How much passes through such a link at all
is measured first, and then as many ways at once as together take an eighth of that. A figure is the
median of five spans of time behind the ramp-up.

Ways are opened on the link that they are measured on: a connection that remembers a shorter round
trip takes the longer one for a queue, and CUBIC ends its slow start at once (HyStart, RFC 9406).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from cluster import LAPTOPS, Scene, open_scene, open_ways
from measures import SERVICES, Figures, Way, finish_load, start_load
from rounds import show

WAYS = ["raw", "ssh", "tun", "tun_pf", "sshuttle"]

PAYLOAD = 1448 / 1514
"""Of an Ethernet frame's bytes: behind its header, IP's, TCP's and the timestamps."""

USABLE = 1 / 8
"""Of what one link's process passes by itself on this machine, for all links at once. Endpoints and
tunnels need the rest, and need it at once: CUBIC takes the wait for a processor for a queue."""


@dataclass(frozen=True)
class Case:
    """What a link is like."""

    round_trip_ms: float
    rate_mbit: float
    lost_percent: float

    @property
    def name(self) -> str:
        return f"{self.round_trip_ms:g}ms_{self.rate_mbit:g}mbit_{self.lost_percent:g}%"

    @property
    def possible_mb_s(self) -> float:
        """Payload that one TCP connection can have at most."""
        return self.rate_mbit / 8 * PAYLOAD

    @property
    def warm_up_s(self) -> float:
        """CUBIC's ramp: some ten round trips to fill the link, some more to recover from that."""
        return 1 + 14 * self.round_trip_ms / 1000

    @property
    def seconds(self) -> float:
        """Of the measure itself; a span is some round trips long."""
        return max(2.0, 12 * self.round_trip_ms / 1000)


CASES = [Case(20, 50, 0), Case(100, 200, 0), Case(100, 50, 1), Case(250, 50, 0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", default=",".join(WAYS))
    parser.add_argument("--cases", default="")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cases = [Case(*map(float, case.split("/"))) for case in options.cases.split(",") if case]
    with open_scene() as scene:
        result = measure(scene, options.paths.split(","), cases or CASES)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


def measure(scene: Scene, names: Sequence[str] = WAYS, cases: Sequence[Case] = CASES) -> dict:
    """Medians by case and way, and ratios to what the link allows; the laptops' links are whole
    again afterwards."""
    medians: dict[str, dict[str, Figures]] = {}
    try:
        ceiling_mbit = measure_ceiling(scene)
        print(f"a link's own ceiling: {ceiling_mbit:.0f} Mbit/s", flush=True)
        for _, alike in groupby(cases, key=lambda case: case.round_trip_ms):
            medians |= measure_alike(scene, names, list(alike), ceiling_mbit)
    finally:
        scene.lab.fault("clear")
    return {
        "ceiling_mbit": ceiling_mbit,
        "medians": medians,
        "ratios": {
            f"of_link_{case}_{name}": figures["of_link"]
            for case, by_way in medians.items()
            for name, figures in by_way.items()
        },
    }


def measure_ceiling(scene: Scene) -> float:
    """What a link passes that neither holds anything back nor loses it, the slower direction."""
    scene.lab.fault("packets", laptop=LAPTOPS["raw"], delay_ms=0.001)
    with open_ways(scene, ["raw"]) as (raw,):
        return min(
            8 * finish_load(start_load(raw.way, direction, SERVICES[direction]))["mb_s"]
            for direction in ("up", "down")
        )


def measure_alike(
    scene: Scene, names: Sequence[str], cases: Sequence[Case], ceiling_mbit: float
) -> dict[str, dict[str, Figures]]:
    """Cases of one round trip, by ways that are opened on it."""
    for name in names:
        change_link(scene, name, cases[0])
    with open_ways(scene, names) as opened:
        return {
            f"{case.name}_{direction}": dict(
                measure_case(scene, [each.way for each in opened], case, direction, ceiling_mbit)
            )
            for case in cases
            for direction in ("up", "down")
        }


def change_link(scene: Scene, name: str, case: Case) -> None:
    """Of the way's laptop."""
    scene.lab.fault(
        "packets",
        laptop=LAPTOPS[name],
        delay_ms=case.round_trip_ms,
        rate_mbit=case.rate_mbit,
        share=case.lost_percent / 100,
    )


def measure_case(
    scene: Scene, ways: list[Way], case: Case, direction: str, ceiling_mbit: float
) -> Iterator[tuple[str, Figures]]:
    """A few ways at a time. One that fails is said to have, and leaves the others theirs."""
    at_once = max(1, int(ceiling_mbit * USABLE / case.rate_mbit))
    for start in range(0, len(ways), at_once):
        some = ways[start : start + at_once]
        for way in some:
            change_link(scene, way.name, case)
        loads = [
            start_load(
                *(way, f"steady-{direction}", SERVICES[direction]),
                *("--warm-up", case.warm_up_s, "--seconds", case.seconds),
            )
            for way in some
        ]
        for way, load in zip(some, loads, strict=True):
            try:
                found = finish_load(load)
            except RuntimeError as error:
                print(f"{way.name} failed at {case.name}: {error}", file=sys.stderr)
                continue
            yield way.name, found | {"of_link": found["mb_s"] / case.possible_mb_s}


if __name__ == "__main__":
    main()
