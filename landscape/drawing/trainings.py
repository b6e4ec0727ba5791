"""Figures of many trainings: the error by depth, or by kind of network."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from landscape.analysis.labels import network_label
from landscape.drawing.style import COLORS, LEGEND, LETTER, NOTE, STYLE, Figure, abreast, check_width, looks_of
from landscape.drawing.views import only
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["by_depth", "by_variant", "trainings"]


def trainings(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw a file of trainings: training error left, test error right.

    Parameters
    ----------
    files : one file of kind "trainings"
    titles : one a variant; by default the variants in words
    width : of the figure, in inches

    Returns
    -------
    Figure
        Errors over depth if there are several depths, else over variants.
    """
    file = only(files)
    if not file.has_accuracy:
        raise BadInput(f"{file.source} has no accuracy, and figures of trainings show errors; read its losses instead")
    names = list(titles or map(network_label, file.coordinates["variant"]))
    if len(names) != len(file.coordinates["variant"]):
        raise BadInput(f"{len(names)} titles for {len(file.coordinates['variant'])} variants; give one each")
    deep = len(file.coordinates["depth"]) > 1
    with matplotlib.rc_context(STYLE):
        tall = 2.3 if deep else 0.8 + 0.19 * len(names)
        longest = 0 if deep else LETTER * STYLE["ytick.labelsize"] / 72 * max(map(len, names))  # inches
        stacked = check_width(width) - longest < (3.0 if deep else 2.4)  # a label is longer than a panel would be
        figure = Figure((width, tall * (1.8 if stacked else 1)), layout="constrained")
        panels = figure.subplots(*((2, 1) if stacked else (1, 2)), sharex=stacked and not deep, sharey=not deep)
        for axes, split, what in zip(panels, ("", "test_"), ("training", "test"), strict=True):
            error = np.where(file["done"], 100 * (1 - file.accuracy(split)), np.nan)  # (variant, depth, seed)
            if deep:
                by_depth(axes, file.coordinates["depth"], error, names).set_ylabel(f"{what} error (%)")
                if all(str(name).startswith(("transformer", "vit")) for name in file.coordinates["variant"]):
                    axes.set_xlabel("depth (layers)")
            else:
                by_variant(axes, error[:, 0], names).set_xlabel(f"{what} error (%)")
        each = np.isfinite(error).sum(axis=2)
        seeds = each.max()
        if deep:
            beside = abreast(names, width, 4, LEGEND)
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=beside)
        fewer = "up to " if (each[each > 0] < seeds).any() else ""
        what = f"{fewer}{seeds} seeds each: points, and their mean" if seeds > 1 else "one seed each"
        epochs = f"{file.attributes['epochs']} epoch{'s' * (str(file.attributes['epochs']) != '1')}"
        depth = "" if deep else f" {file.coordinates['depth'][0]} layers,"
        figure.supxlabel(f"{file.attributes['data']},{depth} {epochs}; {what}", fontsize=NOTE)
    return figure


def by_depth(axes: Axes, depth: np.ndarray, error: np.ndarray, names: Sequence[str]) -> Axes:
    """Draw errors, shape (variant, depth, seed) in percent, over depth: every seed, and the mean."""
    looks = looks_of(names)
    for values, name in zip(error, names, strict=True):
        color, marker = looks[name].values()
        there = np.isfinite(values)  # not every network need be there at every depth
        some = there.any(axis=1)
        axes.plot(depth[some], np.nanmean(values[some], axis=1), color=color, marker=marker, markersize=4, label=name)
        places = np.broadcast_to(depth[:, None], values.shape)
        axes.plot(places[there], values[there], "o", color=color, markersize=2.6, mew=0, alpha=0.6)
    axes.set(xlabel="depth (weight layers)", xticks=depth)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    return axes


def by_variant(axes: Axes, error: np.ndarray, names: Sequence[str]) -> Axes:
    """Draw errors, shape (variant, seed) in percent, one line of points a variant, the mean as a bar."""
    for place, values in enumerate(error):
        axes.plot(values, [place] * len(values), "o", color=COLORS[0], markersize=3, mew=0, alpha=0.6)
        axes.plot(np.nanmean(values), place, "|", color="black", markersize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    return axes
