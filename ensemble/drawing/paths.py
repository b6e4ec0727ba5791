"""Figures of paths by their length: how many there are, and how much of the gradient comes by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.drawing.style import DASHES, NOTE, STYLE, Figure, check_width, looks_of
from landscape.drawing.words import split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["norms", "numbers", "paths", "shares"]

DECADES = 6  # below the largest norm; what is less is cut off


def paths(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw how long paths are, and by length the gradient's norm and signed share (after Veit et al. 2016, Figure 6).

    Parameters
    ----------
    files : of kind "paths"
    titles : one a file; by default the networks' names
    width : of the figure, in inches
    """
    titles = titles_of(files, titles)
    for file in files:
        if not (file["done"].any() and np.isfinite(file["norm"][file["done"]]).all() and file["norm"].any()):
            raise BadInput(f"{file.source} has no finite gradient to draw; measure a network whose loss is finite")
    with matplotlib.rc_context(STYLE):
        stacked = check_width(width) < 4.5
        shape = (3, 1) if stacked else (1, 3)
        layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.03)
        figure = Figure((width, 5.4 if stacked else 2.4), layout=layout)
        panels = figure.subplots(*shape, squeeze=False).ravel()
        colors = [looks_of(titles)[title]["color"] for title in titles]
        for file, color in zip(files, colors, strict=True):
            for draw, axes in zip((numbers, norms, shares), panels, strict=True):
                draw(axes, file, color=color)
        for axes in panels:
            axes.set_xlabel("length of paths (blocks)")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panels[0].set(ylabel="paths (%)", ylim=(0, None))
        for axes in panels[[0, 2]]:  # as many numbers as now after the layout, which leaves room for them
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        panels[1].set(ylabel="gradient norm\n(sum of the exact: 1)", yscale="log")
        top = panels[1].dataLim.y1
        panels[1].set_ylim(2 * top / 10**DECADES, 2 * top)
        panels[2].set_ylabel("share of gradient (%)")
        panels[2].axhline(0, color="0.8", linewidth=0.5, zorder=0)
        names = [Line2D([], [], color=c, label=t) for t, c in zip(titles, colors, strict=True)]
        figure.legend(handles=names, loc="outside upper center", ncols=2 if stacked else 4)
        sizes = sorted({len(file.coordinates["example"]) for file in files})
        sample = f"{' or '.join(map(str, sizes))} {split_of(files)}examples"
        looks: dict[str, dict[str, Any]] = {
            f"exact: mean and middle half of {sample}": {"marker": "o", "markersize": 2.2, "linewidth": 0.8},
            "number × mean norm of sampled paths, ± 2 s.e.": {"dashes": DASHES, "linewidth": 0.8},
        }
        notes = [Line2D([], [], color="0.3", label=label, **look) for label, look in looks.items()]
        figure.legend(handles=notes, loc="outside lower center", ncols=1 if stacked else 2, fontsize=NOTE)
    return figure


def numbers(axes: Axes, file: Results, *, color: str) -> Axes:
    """Draw how many of a network's paths have each length, in percent."""
    number = file["paths"]
    axes.plot(file.coordinates["length"], 100 * (number / number.max()) / (number / number.max()).sum(), color=color)
    return axes


def norms(axes: Axes, file: Results, *, color: str) -> Axes:
    """Draw ‖G_k‖, and dashed the number of paths times the mean norm of a path, with two standard errors.

    Both in units of the sum of the ‖G_k‖; the band, half of the examples, in that of each example's own.
    """
    length, unit = file.coordinates["length"], file["norm"][file["done"]].sum()
    each = _measured(file, "norm_each")
    each = each[:, np.nansum(each, axis=0) > 0]
    _spread(axes, length, each / np.nansum(each, axis=0), color)
    axes.plot(length, _measured(file, "norm") / unit, color=color, marker="o", markersize=2.2, linewidth=0.8)
    estimate, error = _measured(file, "sampled_norm") / unit, 2 * file["sampled_se"] / unit
    axes.plot(length, estimate, color=color, dashes=DASHES, linewidth=0.8)
    axes.fill_between(length, np.maximum(estimate - error, 0), estimate + error, color=color, alpha=0.35, linewidth=0)
    return axes


def shares(axes: Axes, file: Results, *, color: str) -> Axes:
    """Draw the signed share of each length, in percent: the mean over examples, and half of the examples as a band."""
    length, each = file.coordinates["length"], 100 * _measured(file, "share_each")
    _spread(axes, length, each[:, ~np.isnan(each[file["done"]]).any(axis=0)], color)
    axes.plot(length, 100 * _measured(file, "share"), color=color, marker="o", markersize=2.2, linewidth=0.8)
    return axes


def _measured(file: Results, name: str) -> np.ndarray:
    values = file[name]
    return np.where(file["done"].reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)


def _spread(axes: Axes, length: np.ndarray, each: np.ndarray, color: str) -> None:
    low, high = np.quantile(each, [0.25, 0.75], axis=1)
    axes.fill_between(length, low, high, color=color, alpha=0.2, linewidth=0)
