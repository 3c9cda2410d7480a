"""Pictures of a result; none where matplotlib isn't installed (`pip install ktnet[bench]`)."""

import sys
from pathlib import Path

PLOTS = {
    "throughput": (["up_1", "up_8", "up_64", "down_1", "down_8", "down_64"], "mb_s", "MB/s"),
    "round_trip": (["round_trip", "round_trip_under_up", "round_trip_under_down"], "p50_ms", "ms"),
    "connections": (["connections"], "per_s", "connections/s"),
}


def draw(result: dict, directory: Path) -> None:
    """One PNG for each kind of figure and each part of the result."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plots: matplotlib is not installed", file=sys.stderr)
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    plots = [(part, *plot) for part in ("leg", "lab") for plot in PLOTS.items() if part in result]
    if "distance" in result:
        plots.append(("distance", "share", (list(result["distance"]), "of_link", "of the link")))
    for part, kind, (wanted, figure, unit) in plots:
        measures = [measure for measure in wanted if measure in result[part]]
        paths = list(result[part][measures[0]])
        if kind == "throughput":
            paths = [path for path in paths if path != "raw"]  # it dwarfs all others
        axes = pyplot.figure(figsize=(9, 4)).gca()
        width = 0.8 / len(paths)
        for number, path in enumerate(paths):
            values = [result[part][m].get(path, {}).get(figure, 0) for m in measures]
            places = [n + number * width for n in range(len(measures))]
            axes.bar(places, values, width, label=path)
        axes.set_xticks(
            [n + 0.4 for n in range(len(measures))], [m.replace("_", "\n") for m in measures]
        )
        axes.set_ylabel(unit)
        axes.legend()
        axes.figure.tight_layout()
        axes.figure.savefig(directory / f"{part}_{kind}.png", dpi=100)
        pyplot.close(axes.figure)
