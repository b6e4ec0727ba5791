#!/usr/bin/env python3
"""By how many blocks the gradient comes with one stream and with several: one table and one figure of many spectra.

python scripts/studies/findings/paths_of_streams.py build/findings results/findings/paths-of-streams
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy import stats

from landscape.commands.cli import Parser, run
from landscape.drawing.style import COLORS, LEGEND, NOTE, STYLE, Figure, save, wrapped
from landscape.engine.ranks import Communicator
from landscape.engine.run import run as measure
from landscape.engine.table import Results, read

NAMES = {"zero-pad": "residual", "hyper": "hyper-connections", "mhc": "doubly stochastic"}
SEEDS = 3
NOTES = (
    "ResNet-26, pre-activation, four streams, digits. Means of three trainings, 95 % intervals over them, cut "
    "on the right where they reach 0."
)


def parser() -> Parser:
    p = Parser(prog="paths_of_streams.py", description=__doc__)
    p.add_argument(
        "folder", metavar="FOLDER", type=Path, help="what scripts/studies/findings/paths-of-streams.sh fills"
    )
    p.add_argument("out", metavar="OUT", type=Path, help="the table and the figure, without .h5 and .png")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    table = gathered(arguments.folder, arguments.out.with_suffix(".h5"), comm)
    if comm.rank:
        return
    save(drawn(table), arguments.out.with_suffix(".png"), dpi=140)
    lengths = table.coordinates["length"]
    few = 100 * table["share"][:, :, :2].sum(axis=2)
    mean = (table["share"] * lengths).sum(axis=2)
    for number, name in enumerate(NAMES.values()):
        for what, each in {"% by at most one block": few, "blocks, the mean length": mean}.items():
            low, high = stats.ttest_ind(each[number], each[0], equal_var=False).confidence_interval()
            more = f"; {each[number].mean() - each[0].mean():+.2f} [{low:+.2f}, {high:+.2f}]" if number else ""
            print(f"{name}: {each[number].mean():.2f} {what}{more}")


def gathered(folder: Path, out: Path, comm: Communicator) -> Results:
    """The mean shares of every network, in one file."""
    files = {
        (n, seed): read(folder / f"paths-of-streams-{name}-{seed}.h5")
        for n, name in enumerate(NAMES)
        for seed in range(SEEDS)
    }
    lengths = files[0, 0].coordinates["length"]

    def shares(rows: np.ndarray) -> Iterator[dict]:
        for network, seed, length in rows:
            each = files[network, seed]["share_each"][length]
            yield {"share": each.mean(), "share_se": stats.sem(each)}

    axes: dict[str, Any] = {"network": list(NAMES.values()), "seed": range(SEEDS), "length": lengths}
    rows = np.stack(np.meshgrid(*(range(len(axis)) for axis in axes.values()), indexing="ij"), axis=-1).reshape(-1, 3)
    dims = list(axes)
    table = measure(shares, rows, kind="paths-of-streams", dims=dims, coordinates=axes, out=out, comm=comm, quiet=True)
    assert isinstance(table, Results)
    return table


def drawn(table: Results) -> Figure:
    """The share of every length, a line for each kind of network."""
    lengths, share = table.coordinates["length"], 100 * table["share"]
    wide = stats.t.ppf(0.975, SEEDS - 1) / np.sqrt(SEEDS)
    with matplotlib.rc_context(STYLE):
        figure = Figure((5.5, 2.5), layout="constrained")
        for axes, log in zip(figure.subplots(1, 2), (False, True), strict=True):
            for name, color, marker, each in zip(table.coordinates["network"], COLORS, "os^", share, strict=False):
                shown = lengths < (4 if log else 11)
                mean, error = each.mean(axis=0)[shown], wide * each.std(axis=0, ddof=1)[shown]
                x = lengths[shown] + {"o": -0.12, "s": 0, "^": 0.12}[marker]  # beside each other
                down = np.minimum(error, 0.97 * mean) if log else error
                look = {"color": color, "marker": marker, "markersize": 3, "linewidth": 0.8, "elinewidth": 0.6}
                axes.errorbar(x, mean, [down, error], label=name, **look)
            axes.set(xlabel="blocks on the path", ylabel="share of the gradient\nat the image (%)")
        axes.set(yscale="log", ylabel="", title="the shortest, on a logarithmic scale", xticks=range(4))
        axes.yaxis.set_major_formatter("{x:g}")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=LEGEND)
        figure.supxlabel(wrapped(NOTES, 5.2), fontsize=NOTE)
    return figure


if __name__ == "__main__":
    run(main, parser())
