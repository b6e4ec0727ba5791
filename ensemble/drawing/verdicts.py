"""Figure of verdicts on claims: how far on the claimed side of its bound each number is, beside its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.lines import Line2D

from ensemble.claims.report import overall_of
from ensemble.claims.specification import year_of
from ensemble.claims.verdict import VERDICTS
from landscape.drawing.style import COLORS, LEGEND, STYLE, Figure, check_width, width_of, wrapped
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["sides", "verdicts"]

ROW = 0.17  # inches of height
END = 100.0  # where the axis ends; numbers that are farther out stand there
LOOKS: dict[str, dict[str, Any]] = {
    "holds": {"marker": "o", "color": COLORS[0], "markersize": 3.2},
    "does not hold": {"marker": "X", "color": COLORS[1], "markersize": 4.5},
    "cannot tell": {"marker": "o", "color": "0.45", "markersize": 4, "markerfacecolor": "white"},
}
CALLED = {"holds": "a criterion holds", "does not hold": "it does not", "cannot tell": "it cannot be told"}


def verdicts(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw one row for each claim, with a mark for each of its criteria.

    Parameters
    ----------
    files : of kind "claim"
    titles : one a claim, in the order in which they are drawn; by default their own, by the years of their sources
    width : of the figure, in inches
    """
    if titles is None:
        files = sorted(files, key=lambda file: (year_of(str(file.attributes["source"])), file.attributes["source"]))
    names = [str(file.attributes["title"]) for file in files] if titles is None else list(titles)
    if len(names) != len(files):
        raise BadInput(f"{len(names)} titles for {len(files)} claims; give one each")
    words = [overall_of(file) for file in files]
    label, word = (max(width_of(each, 7) for each in column) for column in (names, words))
    height = ROW * len(files) + 0.85
    with matplotlib.rc_context(STYLE):
        room = check_width(width) - label - word - 0.35
        if room < 1.2:
            raise BadInput(
                f"a width of {width:g} inches does not hold this figure; give {width + 1.2 - room:.1f} or more"
            )
        figure = Figure((width, height))
        bottom, top = 0.55 / height, 1 - 0.3 / height
        axes = figure.add_axes((float(label + 0.15) / width, bottom, float(room) / width, top - bottom))
        for row, file in enumerate(files):
            judged = [VERDICTS[int(code)] for code in file["verdict"]]
            places = np.linspace(-0.22, 0.22, len(judged)) if len(judged) > 1 else [0.0]
            for side, verdict, place in zip(sides(file), judged, places, strict=True):
                x = 0.0 if np.isnan(side) else float(np.clip(side, -END, END))
                axes.plot(x, row + place, linestyle="", clip_on=False, **LOOKS[verdict])
        drawn = {VERDICTS[int(code)] for file in files for code in file["verdict"]}
        axes.axvspan(-1, 1, color="0.93", lw=0, zorder=0)
        axes.axvline(0, color="0.6", lw=0.5, zorder=0.5)
        axes.set_xscale("symlog", linthresh=1, linscale=0.6)
        axes.set(xlim=(-END, END), ylim=(len(files) - 0.5, -0.5))
        axes.set_xticks([-100, -10, -1, 1, 10, 100], ["−100", "−10", "−1", "1", "10", "100"])
        axes.set_xticks([], minor=True)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="0.9", lw=0.4)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        for row, each in enumerate(words):
            axes.annotate(
                each,
                (1, row),
                (6, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                fontsize=7,
                va="center",
            )
        axes.set_xlabel(wrapped("distance from the bound, in half intervals", float(room), 8))
        handles = [
            Line2D([], [], linestyle="", label=CALLED[word], **look) for word, look in LOOKS.items() if word in drawn
        ]
        figure.legend(
            handles=handles,
            loc="upper center",
            ncols=len(handles),
            fontsize=LEGEND,
            handletextpad=0.2,
            columnspacing=1.2,
            borderaxespad=0.2,
        )
    return figure


def sides(file: Results) -> np.ndarray:
    """How far each number is on the claimed side of its bound, in halves of its interval; below 0 on the other.

    Above 1 a criterion holds, below −1 it does not. NaN without a number or an interval.
    """
    value, low, high = file["estimate"], file["low"], file["high"]
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = np.minimum(value - file["above"], file["below"] - value)
        towards = np.where(value - file["above"] < file["below"] - value, 1, -1)  # the nearer bound
        # An interval on a scale of ratios is longer above: take the end that is nearer to the bound, or beyond it.
        half = np.where((towards > 0) == (inside >= 0), value - low, high - value)
        return np.where(np.isnan(half), np.nan, inside / half)
