"""Figures of what blocks are worth: values beside damages, and how far two deletions are from the sum of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ensemble.attribution import interaction, shapley
from ensemble.attribution.interaction import Matrix
from ensemble.drawing.lesions import depth_order
from ensemble.drawing.measure import SAME, as_errors, measured
from landscape.drawing.page import loss_label, split_of, titles_of
from landscape.drawing.scale import limits_of
from landscape.drawing.style import COLORS, NOTE, STYLE, Figure, abreast, check_width
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["by_pair", "by_value", "interactions", "values"]

CMAP = "PuOr_r"  # told apart by all kinds of colour vision; white is nothing


def interactions(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw the interactions of all pairs of blocks as matrices on one scale, a panel a network.

    Parameters
    ----------
    files : of ``lesion.py --delete 1 2``
    titles : one a file; by default the names of the networks
    width : of the figure, in inches

    Returns
    -------
    Figure
        Of the error, in points; of the loss where targets are not classes. The diagonal is what the deletion of one
        block costs. A cross marks a pair that cannot be told from 0, see
        `ensemble.attribution.interaction.interactions`. The scale is linear up to a point and logarithmic beyond.
    """
    loss = not as_errors(files)
    matrices = [interaction.interactions(file, loss) for file in files]
    factor = 1 if loss else 100
    most = max(float(np.nanmax(np.abs(np.where(np.isfinite(m.value), m.value, np.nan)), initial=0)) for m in matrices)
    norm = SymLogNorm(1, vmin=-max(factor * most, 1), vmax=max(factor * most, 1))
    with matplotlib.rc_context(STYLE):
        columns = min(len(files), 3 if check_width(width) > 4 else 2)
        rows = -(-len(files) // columns)
        side = min(2.6, (width - 0.9) / columns)
        across = side * columns + 0.9
        notes = ["one block; else two, beyond the sum of both", "not told from 0 (false discovery rate 5 %)"]
        beside = abreast(notes, across, 2)
        figure = Figure((across, (side + 0.35) * rows + 0.25 + 0.12 * (2 - beside)), layout="compressed")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(files) :]:
            axes.set_visible(False)
        for axes, one, title in zip(panels.flat, matrices, titles_of(files, titles), strict=False):
            by_pair(axes, one, norm, factor)
            axes.set_title(title)
            axes.set_xlabel("deleted block, by depth")
        for axes in panels[:, 0]:
            axes.set_ylabel("deleted block, by depth")
        label = f"rise of {loss_label(files) if loss else split_of(files) + 'error (points)'}"
        bar = figure.colorbar(ScalarMappable(norm, CMAP), ax=panels, label=label, shrink=0.9, aspect=30)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        bar.ax.yaxis.set_ticks(_ticks(limits_of(norm)[1]))
        bar.ax.minorticks_off()
        bar.outline.set_linewidth(0.5)
        cross = Line2D([], [], color="0.2", linestyle="none", marker="x", markersize=3, markeredgewidth=0.6)
        square = Line2D(
            [], [], color="0.2", linestyle="none", marker="s", markersize=4, markerfacecolor="none", mew=0.4
        )
        figure.legend([square, cross], notes, loc="outside lower center", fontsize=NOTE, ncols=beside)
    return figure


def by_pair(axes: Axes, matrix: Matrix, norm: Normalize, factor: float = 100) -> Axes:
    """Draw a matrix of interactions; blocks are counted from 1, by depth.

    Parameters
    ----------
    axes : Axes
    matrix : Matrix
    norm : of the colours
    factor : that values are multiplied by; 100 for points of error

    Returns
    -------
    Axes
        The ones given.
    """
    number = len(matrix.value)
    edges = np.arange(number + 1) + 0.5
    axes.set_facecolor("0.85")
    axes.pcolormesh(edges, edges, np.ma.masked_invalid(factor * matrix.value), cmap=CMAP, norm=norm, rasterized=True)
    unsure = np.isfinite(matrix.value) & ~matrix.significant & ~np.eye(number, dtype=bool)
    second, first = np.nonzero(unsure)
    size = max(0.8, min(3.5, 40 / number))
    axes.plot(first + 1, second + 1, "x", color="0.2", markersize=size, markeredgewidth=0.2 * size)
    for k in range(number):  # one block alone is another thing than a pair
        axes.add_patch(matplotlib.patches.Rectangle((k + 0.5, k + 0.5), 1, 1, fill=False, color="0.2", linewidth=0.4))
    axes.set(xlim=(0.5, number + 0.5), ylim=(0.5, number + 0.5), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    return axes


def values(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw what each block is worth: its Shapley value and, where it was measured, what its deletion alone costs.

    Parameters
    ----------
    files : of ``lesion.py --shapley``, and of ``--delete 1`` for the same networks
    titles : one a file; by default the names of the networks. Files of one title share a panel.
    width : of the figure, in inches

    Returns
    -------
    Figure
    """
    titles = titles_of(files, titles, SAME)
    panels_of = list(dict.fromkeys(titles))
    errors = as_errors(files)
    with matplotlib.rc_context(STYLE):
        figure = Figure((check_width(width), 0.35 + 1.75 * len(panels_of)), layout="constrained")
        panels = figure.subplots(len(panels_of), 1, squeeze=False)[:, 0]
        drawn: dict[str, Any] = {}
        for axes, title in zip(panels, panels_of, strict=True):
            mine = [file for file, its in zip(files, titles, strict=True) if its == title]
            order = depth_order([list(file.coordinates["block"]) for file in mine])
            for file in sorted(mine, key=lambda file: "turn" in file.variables):
                drawn |= by_value(axes, file, order, errors)
            axes.axhline(0, color="0.6", linewidth=0.5, zorder=0)
            axes.set(xlim=(0.3, len(order) + 0.7), title=title)
            axes.set_ylabel(f"{split_of(mine)}error (points)" if errors else loss_label(mine))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[-1].set_xlabel("block, by depth")
        figure.legend(list(drawn.values()), list(drawn), loc="outside upper center", ncols=2)
    return figure


def by_value(axes: Axes, file: Results, order: Sequence[str], errors: bool | None = None) -> dict[str, Any]:
    """Draw the values in one file, with their 95 % intervals, or the damages of single deletions.

    Parameters
    ----------
    axes : Axes
    file : of ``lesion.py --shapley`` or of ``--delete 1``
    order : names of the blocks along x
    errors : draw errors, or else losses; by default, whether the file has an accuracy

    Returns
    -------
    dict
        A label and its handle for the legend.
    """
    names = list(file.coordinates["block"])
    errors = file.has_accuracy if errors is None else errors
    factor = 100 if errors else 1
    payoff = measured(file, errors) / factor
    if "turn" in file.variables:
        ways = file["turn"].argsort(axis=1)
        trials = shapley.places(ways, file["deleted"])
        estimates = shapley.remaining(payoff, file["done"], ways, trials, file.attributes.get("precision"))[1]
        place = np.array([order.index(name) for name in names]) + 1
        look: dict[str, Any] = {"color": COLORS[0], "fmt": "o", "markersize": 3, "elinewidth": 0.8}
        return {
            "Shapley value, 95 % interval": axes.errorbar(
                place, factor * estimates.mean, factor * estimates.half, **look
            )
        }
    if file["deleted"].sum(axis=1).max() > 1:
        raise BadInput(
            f"{file.source} deletes several blocks at once; beside Shapley values draw those of single deletions"
        )
    alone = np.flatnonzero(file["deleted"].any(axis=1) & file["done"])
    intact = payoff[~file["deleted"].any(axis=1)][0]
    at = [order.index(names[block]) + 1 for block in file["deleted"][alone].argmax(axis=1)]
    bars = axes.bar(at, factor * (payoff[alone] - intact), color=COLORS[1], alpha=0.35, width=0.8, linewidth=0)
    return {"rise when it alone is deleted": bars}


def _ticks(most: float) -> list[float]:
    """Of a scale that is linear to 1 and logarithmic beyond."""
    decades = [10.0**k for k in range(int(np.floor(np.log10(most))) + 1)]
    return [-d for d in decades[::-1]] + [0.0, *decades]
