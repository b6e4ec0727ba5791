"""What lesions look like on axes that are given: points with their intervals, medians with quartiles, bars.

Errors are in percent; where accuracy is not defined, losses are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ensemble.drawing.measure import interval, lost, measured
from ensemble.drawing.stages import in_parts, shape_changing
from landscape.drawing.style import DASHES
from landscape.engine.table import Results

__all__ = ["DIAMOND", "DOT", "OF_PARTS", "by_block", "by_kind", "by_neighbours", "by_number", "by_order"]

DOT: dict[str, Any] = {"marker": "o", "markersize": 2.6}
DIAMOND: dict[str, Any] = {"marker": "D", "markersize": 3.4, "markerfacecolor": "white"}
OF_PARTS: dict[str, dict[str, Any]] = {  # of a transformer's layers
    "attention": {"marker": "o", "markersize": 3.0},
    "mlp": {"marker": "^", "markersize": 3.6, "markerfacecolor": "white"},
}


def by_block(
    axes: Axes,
    file: Results,
    order: Sequence[str],
    *,
    color: str = "black",
    shift: float = 0.0,
    span: int | None = None,
    errors: bool | None = None,
) -> Axes:
    """Draw the error after each single deletion, with its 95 % interval, and dashed the intact error.

    Parameters
    ----------
    axes : Axes
    file : a lesion table
    order : names of the blocks along x; those that the file lacks stay empty
    color : of everything drawn
    shift : to the right, so that networks do not hide each other
    span : places along x that these blocks are spread over; by default as many as there are
    errors : draw errors, or else losses; by default, whether the file has an accuracy

    Returns
    -------
    Axes
        The ones given. The first block of every stage but the first, which changes the shape, is an
        open diamond; of a transformer's layers, an attention is a dot and an MLP an open triangle.
    """
    deleted, done = file["deleted"], file["done"]
    alone = np.flatnonzero((deleted.sum(axis=1) == 1) & done)
    names = file.coordinates["block"][deleted[alone].argmax(axis=1)]
    place = np.array([order.index(name) for name in names], dtype=int)  # from 0; drawn from 1
    x = (place + 0.5) * (span or len(order)) / len(order) + 0.5 + shift
    first = np.isin(place, shape_changing(order))
    looks = [(~first, DOT), (first, DIAMOND)]
    if in_parts(order):
        part = np.array([name.rpartition(".")[2] for name in names])
        looks = [(part == which, look) for which, look in OF_PARTS.items()]
    return _points(axes, file, alone, x, looks, color, errors)


def by_neighbours(
    axes: Axes, file: Results, *, color: str = "black", shift: float = 0.0, errors: bool | None = None
) -> Axes:
    """Draw the error after two neighbours have traded places, between the two, and dashed the intact error.

    Parameters
    ----------
    axes, file, color, shift, errors : as for `by_block`
    """
    moved = file["order"] != np.arange(file["order"].shape[1])
    swaps = np.flatnonzero(moved.any(axis=1) & file["done"])
    x = moved[swaps].argmax(axis=1) + 1.5 + shift
    return _points(axes, file, swaps, x, [(np.full(len(swaps), True), DOT)], color, errors)


def _points(
    axes: Axes, file: Results, trials: np.ndarray, x: np.ndarray, looks: list, color: str, errors: bool | None
) -> Axes:
    """Draw some trials at places along x with their 95 % intervals, and dashed the first that changes no block.

    Parameters
    ----------
    looks : markers, each with which of the trials have it
    """
    values = measured(file, errors)
    error, (low, high) = values[trials], (end[trials] for end in interval(file, errors))
    with np.errstate(invalid="ignore"):  # infinite losses are results
        axes.errorbar(x, error, (error - low, high - error), fmt="none", ecolor=color, elinewidth=0.6)
    lost(axes, x, ~np.isfinite(error), color)
    for these, look in looks:
        axes.plot(x[these], error[these], color=color, linestyle="none", **look)
    changed = file["order"] != np.arange(file["order"].shape[1]) if "order" in file else file["deleted"]
    for intact in np.flatnonzero(~changed.any(axis=1) & file["done"])[:1]:
        axes.axhline(values[intact], color=color, linewidth=0.7, dashes=DASHES, zorder=1)
        axes.update_datalim([(0, values[intact])], updatex=False)  # else it may lie on the frame
        axes.autoscale_view(scalex=False)
    return axes


def by_number(
    axes: Axes,
    file: Results,
    *,
    color: str = "black",
    shift: float = 0.0,
    variable: str = "deleted",
    errors: bool | None = None,
) -> Axes:
    """Draw the error by number of deleted blocks: every trial, a band of quartiles, the median.

    Parameters
    ----------
    axes, file, color, shift, errors : as for `by_block`
    variable : of the file, over (trial, block): the blocks that are counted

    Returns
    -------
    Axes
        The ones given.
    """
    count = file[variable].sum(axis=1)
    error = measured(file, errors)
    known = np.isfinite(error)
    counts = np.unique(count[known])
    jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(count))  # for the eye only
    axes.plot((count + jitter + shift)[known], error[known], ".", color=color, alpha=0.4, markersize=2.5, mew=0)
    lost(axes, count + jitter + shift, file["done"] & ~known, color)
    quartiles = np.array([np.percentile(error[known & (count == k)], [25, 50, 75]) for k in counts]).reshape(-1, 3)
    return _medians(axes, counts + shift, quartiles, color)


def by_order(axes: Axes, file: Results, *, color: str = "black", errors: bool | None = None) -> Axes:
    """Draw the error by Kendall's τ between a trial's order of blocks and the trained one (Veit et al. 2016, Fig. 5b).

    Parameters
    ----------
    axes, file, color, errors : as for `by_block`

    Returns
    -------
    Axes
        The ones given: every trial; the median and a band of quartiles over steps of τ of 0.02, or of a twelfth of what
        there is if that is more.
    """
    error = measured(file, errors)
    known = np.isfinite(error)
    lost(axes, file["kendall_tau"], file["done"] & ~known, color)
    tau, error = file["kendall_tau"][known], error[known]
    axes.plot(tau, error, ".", color=color, alpha=0.4, markersize=2.5, mew=0)
    step = max(0.02, float(np.ptp(tau)) / 12) if len(tau) else 0.02
    place = np.round((1 - tau) / step).astype(int)
    places = np.unique(place)
    quartiles = np.array([np.percentile(error[place == p], [25, 50, 75]) for p in places]).reshape(-1, 3)
    return _medians(axes, np.array([tau[place == p].mean() for p in places]), quartiles, color)


def _medians(axes: Axes, at: np.ndarray, quartiles: np.ndarray, color: str) -> Axes:
    """Medians as a line in a band of quartiles; of one or two places, as points, since a line would promise more."""
    low, middle, high = quartiles.T
    if len(at) < 3:
        ends = (middle - low, high - middle)
        axes.errorbar(at, middle, ends, fmt="_", color=color, markersize=8, elinewidth=0.8)
    else:
        axes.fill_between(at, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(at, middle, color=color)
    return axes


def by_kind(axes: Axes, errors: Sequence[np.ndarray], *, color: str = "black", shift: float = 0.0) -> Axes:
    """Draw a bar for each kind of lesion: the median error of its trials, with their quartiles.

    Parameters
    ----------
    axes : Axes
    errors : of each kind the trials' errors, in percent, or their losses; none leaves its place empty
    color : of the bars
    shift : downwards, so that networks do not hide each other

    Returns
    -------
    Axes
        The ones given; the first kind is on top.
    """
    for place, error in enumerate(errors):
        if len(error):
            low, middle, high = np.percentile(error, [25, 50, 75])
            axes.barh(place + shift, middle, height=0.3, color=color, alpha=0.6, linewidth=0)
            axes.errorbar(middle, place + shift, xerr=[[middle - low], [high - middle]], ecolor="black", elinewidth=0.6)
    return axes
