#!/usr/bin/env python3
"""What basins.sh, beside it, makes of its files: one results file, a figure, and the numbers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from scipy import stats

from landscape.analysis.basins import certified_radius
from landscape.analysis.geometry import difference
from landscape.checkpoints.checkpoint import load
from landscape.drawing.style import COLORS, LEGEND, NOTE, STYLE, Figure, save
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.table import read

NETWORKS, DEPTHS, SEEDS = ("plain", "resnet"), (8, 20, 44), (0, 1, 2)
LABELS = ("plain", "ResNet")
MEASURED: dict[str, tuple] = {
    "radius": ("f8", np.nan, {"long_name": "certified radius, relative to each filter"}),
    "median": ("f8", np.nan, {"long_name": "radius that half of the directions stay inside up to"}),
    "error": ("f8", np.nan, {"long_name": "training error", "units": "%"}),
}


def main(folder: Path, out: Path) -> None:
    def rows(chosen: np.ndarray) -> Iterator[dict]:
        for i, j, k in chosen.astype(int):
            stem = folder / f"{NETWORKS[i]}-{DEPTHS[j]}-{SEEDS[k]}"
            certificate = certified_radius(read(stem.with_suffix(".h5")))
            error = 100 * (1 - load(stem.with_suffix(".pt")).final["train"]["accuracy"])
            yield {"radius": certificate.radius, "median": np.median(certificate.reach), "error": error}

    shape = len(NETWORKS), len(DEPTHS), len(SEEDS)
    first = read(folder / f"plain-{DEPTHS[0]}-0.h5").attributes
    table = run(
        rows,
        np.argwhere(np.ones(shape)),
        kind="experiment",
        dims=("network", "depth", "seed"),
        coordinates={"network": LABELS, "depth": DEPTHS, "seed": SEEDS},
        measured=MEASURED,
        attributes={name: first[name] for name in ("data", "data_digest", "split", "share", "confidence", "level")},
        out=out.with_suffix(".h5"),
        quiet=True,
    )
    assert isinstance(table, Results)
    for name in MEASURED:
        for label, each in zip(LABELS, table[name], strict=True):
            print(
                f"{name}, {label}: " + ", ".join(f"{d} layers {v}" for d, v in zip(DEPTHS, each.tolist(), strict=True))
            )
    for name in ("radius", "median"):
        for j, depth in enumerate(DEPTHS):
            middle, low, high = difference(*table[name][::-1, j])[:3]
            print(f"{name}, {depth} layers, with shortcuts minus without: {middle:.3f} [{low:.3f}, {high:.3f}]")
    save(drawn(table), out.with_suffix(".png"), dpi=120)


def drawn(table: Results) -> Figure:
    """Radii by depth, a point for each training and a line through their means."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((5.5, 2.5), layout="constrained")
        panels = {"radius": "certified for 90 % of directions", "median": "half of the directions"}
        for axes, (name, title) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
            for label, color, each, side in zip(LABELS, COLORS, table[name], (-0.5, 0.5), strict=False):
                at = np.array(DEPTHS) + side
                wide = stats.t.ppf(0.975, len(SEEDS) - 1) * stats.sem(each, axis=1)
                axes.errorbar(
                    at, each.mean(axis=1), wide, color=color, label=label, marker="o", markersize=3, elinewidth=0.6
                )
                axes.plot(np.repeat(at, len(SEEDS)), each.ravel(), ".", color=color, markersize=3, alpha=0.5)
            axes.set(xlabel="layers", xticks=DEPTHS, title=title)
        figure.axes[0].set(ylabel="radius within which the error\nrises by 5 points at most", ylim=(0, None))
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=LEGEND)
        note = (
            "1: each filter's own norm. Three trainings on digits, 60 directions each; 95 % intervals over trainings."
        )
        figure.supxlabel(note, fontsize=NOTE)
    return figure


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
