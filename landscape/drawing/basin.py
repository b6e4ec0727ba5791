"""Figures of basins: how many directions stay inside, over the radius, and what the loss or the error is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.analysis.basins import Certificate, certified_radius, clopper_pearson
from landscape.drawing.layout import LINE, legend
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, looks_of, wrapped
from landscape.drawing.words import loss_label, split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["basins", "shares"]

MARK: dict[str, Any] = {"linestyle": "none", "marker": "v", "markersize": 5, "mew": 0}
LARGEST = 1e30  # what is not finite counts as
NARROW = 4.5  # inches, below which panels stand one above the other
RADII = {
    "filter": "radius (1: each filter's own norm)",
    "weights": "radius (1: the norm of the weights)",
    "worst": "radius of the ball (1: the norm of the weights)",
}


def basins(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw the share of directions that stay inside a basin, and the losses or errors, over the radius.

    Parameters
    ----------
    files : of kind "basin", of one quantity
    titles : one a file; by default the names of the networks
    width : of the figure, in inches

    Returns
    -------
    Figure
        Shares with Clopper and Pearson's bounds, of 95 % each, and a mark at each certified radius; medians with bands
        from the 5th to the 95th percentile over directions.
    """
    names = titles_of(files, titles)
    if len({str(file.attributes["quantity"]) for file in files}) > 1:
        raise BadInput("basins of the loss and of the error have no common scale; draw them apart")
    with matplotlib.rc_context(STYLE):
        tall = check_width(width) < NARROW
        figure = Figure((width, 4.2 if tall else 2.4), layout="constrained")
        left, right = figure.subplots(*((2, 1) if tall else (1, 2)), sharex=True)
        shares(left, files, titles=names)
        _levels(right, files, names)
        handles: list[Artist] = [Line2D([], [], color=looks_of(names)[name]["color"], label=name) for name in names]
        handles.append(
            Line2D([], [], color="0.3", linestyle="none", marker="v", markersize=5, label="certified radius")
        )
        lines = legend(figure, "outside upper center", handles)
        note = wrapped(_note(files, names), width - 0.4, NOTE)
        figure.set_figheight((3.8 if tall else 2.1) + LINE * (lines + note.count("\n") + 1))
        figure.supxlabel(note, fontsize=NOTE)
        if tall:
            left.label_outer()
    return figure


def shares(axes: Axes, files: Sequence[Results], *, titles: Sequence[str] | None = None) -> Axes:
    """The shares of directions onto axes."""
    names = titles_of(files, titles)
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        color, certified = looks_of(names)[name]["color"], _certificate(file)
        radii = file.coordinates["radius"]
        low, high = clopper_pearson(certified.staying, certified.directions, float(file.attributes["confidence"]))
        axes.plot(radii, 100 * certified.staying / certified.directions, color=color, marker="o", markersize=2.2)
        axes.fill_between(radii, 100 * low, 100 * high, color=color, alpha=0.15, linewidth=0)
        if file.attributes["ball"] != "worst" and not math.isnan(certified.radius):
            axes.plot(certified.radius, 104 + 5 * (number % 2), color=color, clip_on=False, **MARK)
    for share in {float(file.attributes["share"]) for file in files if file.attributes["ball"] != "worst"}:
        axes.axhline(100 * share, color="0.5", linewidth=0.8, linestyle=":")
    axes.set(ylim=(-3, 116), yticks=range(0, 101, 25), ylabel="directions inside (%)", xlabel=_radius(files))
    return axes


def _levels(axes: Axes, files: Sequence[Results], names: Sequence[str]) -> None:
    """What is measured, over directions, and the levels."""
    error = files[0].attributes["quantity"] == "error"
    for file, name in zip(files, names, strict=True):
        color, radii = looks_of(names)[name]["color"], file.coordinates["radius"]
        whole = file["done"].all(axis=1)
        values = 100 * (1 - file.accuracy()) if error else np.where(np.isfinite(file["loss"]), file["loss"], LARGEST)
        low, middle, high = np.quantile(values[whole], (0.05, 0.5, 0.95), axis=0)
        axes.plot(radii, middle, color=color, marker="o", markersize=2.2)
        axes.fill_between(radii, low, high, color=color, alpha=0.15, linewidth=0)
        axes.axhline(_level(file), color=color, linewidth=0.8, linestyle=":")
    label = f"{split_of(files)}error (%)" if error else loss_label(files)
    axes.set(ylabel=wrapped(label, 1.9, 8), xlabel=_radius(files))
    if not error:
        axes.set_yscale("log")
        if axes.get_ylim()[1] > 1e6:
            axes.set_ylim(top=1e6)


def _level(file: Results) -> float:
    """The level, from what lies how far above it."""
    error = file.attributes["quantity"] == "error"
    values = 1 - file.accuracy() if error else file["loss"]
    level = values - file["excess"]
    return float((100 if error else 1) * np.nanmedian(level[np.isfinite(level) & file["done"]]))


def _certificate(file: Results) -> Certificate:
    try:
        return certified_radius(file)
    except BadInput:  # of ascents, of which few are enough
        return certified_radius(file, share=1e-9)


def _radius(files: Sequence[Results]) -> str:
    kinds = {str(file.attributes["ball"]) for file in files}
    return RADII[kinds.pop()] if len(kinds) == 1 else "radius, relative to the weights"


def _note(files: Sequence[Results], names: Sequence[str]) -> str:
    about = [file.attributes for file in files]
    levels = {str(each["level"]) for each in about}
    inside = f"Inside: {levels.pop()}, at this radius and all smaller ones" if len(levels) == 1 else "Levels differ"
    most = [each for each in about if each["ball"] != "worst"]
    certificates = {(100 * each["share"], 100 * each["confidence"]) for each in most}
    words = (f"{share:g} % of directions at least, with {sure:g} % confidence" for share, sure in sorted(certificates))
    said = "; ".join(words)
    sentences = [f"{inside} (dotted).", f"Certified: {said}." if said else "Points that ascents find."]
    number = sorted({len(file.coordinates["direction"]) for file in files})
    each = " to ".join(map(str, dict.fromkeys((number[0], number[-1]))))
    return " ".join([*sentences, f"{each} directions; bands: bounds of the share, 5th to 95th percentile."])
