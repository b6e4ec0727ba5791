"""Figures of sharpness: how far the loss rises within a ball, over the ball's radius."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.drawing.layout import LINE, legend
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, looks_of, wrapped
from landscape.drawing.words import loss_label, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["rises", "sharpnesses"]


LARGEST = 1e300  # what is infinite counts as
BALLS = {"": "ball relative to all weights", "adaptive ": "adaptive: relative to each weight"}
HOW: dict[str, Any] = {"ascent": {"linestyle": "-", "marker": "o"}, "random": {"linestyle": "--", "marker": "s"}}


def sharpnesses(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw the rise of the loss over the radius: at random and at worst, in both kinds of balls.

    Parameters
    ----------
    files : of kind "sharpness", over (kind, rho, trial)
    titles : one a file; by default the networks' names
    width : of the figure, in inches

    Returns
    -------
    Figure
        Every trial as a point, their medians as lines with bands between the quartiles, on logarithmic scales. What
        did not rise has no place there: a note tells how many.
    """
    names = titles_of(files, titles)
    if not any(_shown(file["rise"]).any() for file in files):
        raise BadInput(f"no loss of {files[0].source} has risen yet; measure more, or larger radii")
    colors = [looks_of(names)[name]["color"] for name in names]
    with matplotlib.rc_context(STYLE):
        figure = Figure((check_width(width), 2.6), layout="constrained")
        for axes, (ball, title) in zip(figure.subplots(1, 2, sharey=True), BALLS.items(), strict=True):
            for file, color in zip(files, colors, strict=False):
                for kind, how in HOW.items():
                    at = list(file.coordinates["kind"]).index(ball + kind)
                    rises(axes, file.coordinates["rho"], file["rise"][at], color=color, **how)
            axes.set_title(wrapped(title, width / 2 - 0.4, STYLE["axes.titlesize"]))
            axes.set(xlabel="relative radius ρ", xscale="log", yscale="log")
            ticks = np.unique(np.concatenate([file.coordinates["rho"] for file in files]))
            if len(ticks) < 5:  # more of them may lie too near to each other
                axes.set_xticks(ticks)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
            axes.label_outer()
        figure.axes[0].set_ylabel(wrapped(f"rise of the {loss_label(files)}", 1.9, 8))
        handles = [Line2D([], [], color=color, label=name) for name, color in zip(names, colors, strict=False)]
        handles += [
            Line2D([], [], color="0.3", markersize=2.6, label=label, **HOW[kind])
            for kind, label in {"ascent": "at worst (by ascent)", "random": "in random directions"}.items()
        ]
        lines = legend(figure, "outside upper center", handles)
        figure.set_figheight(2.4 + LINE * lines)
        figure.supxlabel(wrapped(_note(files), width - 0.4, NOTE), fontsize=NOTE)
    return figure


def rises(axes: Axes, rho: np.ndarray, rise: np.ndarray, *, color: str, linestyle: str, marker: str) -> Axes:
    """Draw rises, shape (rho, trial), on logarithmic axes: trials, medians and quartiles that are above 0.

    A rise that is NaN is none; one that is infinite counts as the largest.
    """
    some = (~np.isnan(rise)).any(axis=1)
    low, middle, high = _quartiles(rise[some])
    at = rho[some]
    axes.plot(at, np.where(_shown(middle), middle, np.nan), linestyle, color=color)
    band = _shown(middle) & _shown(high)
    low = np.where(_shown(low), low, rise[_shown(rise)].min(initial=np.inf) / 3)  # below all that is shown
    axes.fill_between(at, low, high, where=band, color=color, alpha=0.15, linewidth=0)
    places = np.broadcast_to(rho[:, None], rise.shape)
    axes.plot(places[_shown(rise)], rise[_shown(rise)], marker, color=color, markersize=2.2, mew=0, alpha=0.6)
    return axes


def _shown(rise: np.ndarray) -> np.ndarray:
    """What has a place on a logarithmic scale."""
    return np.isfinite(rise) & (rise > 0)


def _quartiles(rise: np.ndarray) -> np.ndarray:
    """Of rises, shape (…, trial), each with one that is not NaN: lower quartile, median and upper one, shape (3, …)."""
    bounded = np.clip(rise, None, LARGEST)  # between a number and infinity there is no place
    quartiles = np.nanquantile(bounded, (0.25, 0.5, 0.75), axis=-1)
    return np.where(quartiles < LARGEST / 100, quartiles, np.inf)


def _note(files: Sequence[Results]) -> str:
    trials = sorted({len(file.coordinates["trial"]) for file in files})
    each = " to ".join(str(number) for number in dict.fromkeys((trials[0], trials[-1])))
    sentences = [f"Lines are medians of {each} trials, bands lie between their quartiles, and points are the trials."]
    if lost := sum(int((file["done"] & ~_shown(file["rise"])).sum()) for file in files):
        sentences.append(f"{lost} trials have no point: their rise is not above 0, or not finite.")
    rows = [file["rise"][(~np.isnan(file["rise"])).any(axis=-1)] for file in files]
    low, middle, _ = np.concatenate([_quartiles(each) for each in rows], axis=1)
    if not _shown(middle).all():
        sentences.append("Lines leave out such medians.")
    if (_shown(middle) & ~_shown(low)).any():
        sentences.append("Bands with such a lower quartile have no lower edge.")
    return " ".join(sentences)
