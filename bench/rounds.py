"""Rounds: every path measured in turn, again and again; what counts are medians of ratios.

Two paths in one round meet the same machine, so a ratio says more than either figure.
"""

import statistics
import sys

from measures import MEASURES, Figures, Way

Round = dict[str, dict[str, Figures]]
"""By measure and path."""

NAMES = {
    "mb_s": "throughput_{measure}",
    "per_s": "connections_per_s",
    "bulk_mb_s": "bulk_{measure}",
}


def run_rounds(paths: list[Way], measures: list[str], count: int, seconds: float) -> list[Round]:
    """A way that fails at a measure (sshuttle at 64 uploads, say) has no figures there, and is said
    to have failed; the others go on."""
    rounds: list[Round] = []
    failed: set[tuple[str, str]] = set()
    for number in range(count):
        rounds.append({})
        for measure in measures:
            rounds[-1][measure] = {}
            # Turned round each time, so that nobody always comes first.
            for path in paths if number % 2 else reversed(paths):
                if (path.only and measure not in path.only) or (measure, path.name) in failed:
                    continue
                print(f"\r{number + 1}/{count} {measure} {path.name}   ", end="", file=sys.stderr)
                try:
                    rounds[-1][measure][path.name] = MEASURES[measure](path, seconds)
                except RuntimeError as error:
                    print(f"\n{path.name} failed at {measure}: {error}", file=sys.stderr)
                    failed.add((measure, path.name))
    for measure, name in failed:
        for each in rounds:
            each[measure].pop(name, None)
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return rounds


def summarise(rounds: list[Round], reference: str) -> dict:
    """Medians of all figures, and of their ratios to the reference path's in the same round."""
    medians: dict[str, dict[str, Figures]] = {}
    ratios: dict[str, float] = {}
    for measure, by_path in rounds[0].items():
        medians[measure] = {}
        for path, figures in by_path.items():
            medians[measure][path] = {
                name: statistics.median(r[measure][path][name] for r in rounds) for name in figures
            }
            if path == reference or reference not in by_path:
                continue
            for name in figures.keys() & by_path[reference].keys() - {"count", "least_share"}:
                ratio = statistics.median(
                    r[measure][path][name] / max(r[measure][reference][name], 1e-9) for r in rounds
                )
                ratios[f"{name_ratio(measure, name)}_{path}_vs_{reference}"] = ratio
    return {"medians": medians, "ratios": ratios}


def name_ratio(measure: str, figure: str) -> str:
    """As in the checked-in results: throughput_up_1, round_trip_p50, cpu_client_up_1."""
    if figure in NAMES:
        return NAMES[figure].format(measure=measure)
    if figure.startswith("cpu_"):
        return f"cpu_{figure.split('_')[1]}_{measure}"
    return f"{measure}_{figure.removesuffix('_ms')}"


def show(result: dict) -> None:
    for measure, by_path in result["medians"].items():
        print(measure)
        for path, figures in by_path.items():
            line = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            print(f"  {path:14} {line}")
    for name, ratio in sorted(result["ratios"].items()):
        print(f"{name:52} {ratio:.3f}")
