"""Figures of redundancy: what deleting a block does, over what the block does to activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ensemble.drawing.measure import Z95
from ensemble.flow.redundancy import association, p_value
from landscape.drawing.scale import label_of, rounded, signed_ticks
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, colormap, wrapped
from landscape.drawing.words import split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["against", "redundancies"]

LABELS = {
    "influence": "influence\n1 − cos(x, y)",
    "angle": "angle between x and y\n(in units of π)",
    "relative": "relative size\n‖F(x)‖/‖x‖",
}
DEPTH = "viridis"
HEIGHT = 1.5  # inches of a row of panels
ABOVE: dict[str, Any] = {
    "xycoords": "axes fraction",
    "textcoords": "offset points",
    "ha": "center",
    "fontsize": NOTE,
    "annotation_clip": False,
}


def redundancies(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw the rise of the loss when a block is deleted over each of the block's scores: a row of panels a network.

    Parameters
    ----------
    files : of kind "redundancy"
    titles : one a file; by default the networks' names
    width : of the figure, in inches
    """
    titles = titles_of(files, titles)
    for file in files:
        if not np.isfinite(file["rise"][file["done"]]).any():
            raise BadInput(f"{file.source} has no finite rise of the loss to draw; measure a block first")
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.04)
        figure = Figure((check_width(width, 5), 1.05 + (HEIGHT + 0.15) * len(files)), layout=layout)
        panels = figure.subplots(len(files), len(LABELS), squeeze=False, sharex="col", sharey="row")
        for axes, name in zip(panels[-1], LABELS, strict=True):
            _scale(axes, np.concatenate([file[name][np.isfinite(file[name])] for file in files]))
        for row, file, title in zip(panels, files, titles, strict=True):
            _rises(row, file)
            for axes, name in zip(row, LABELS, strict=True):
                against(axes, file, name)
            row[0].set_ylabel(wrapped(f"rise of loss ({file.unit})", HEIGHT, STYLE["axes.labelsize"]))
            row[len(row) // 2].set_title(
                wrapped(title, width - 1.2, STYLE["axes.titlesize"]), pad=13
            )  # above ρ; takes no room beside the panel
        for axes, label in zip(panels[-1], LABELS.values(), strict=True):
            axes.set_xlabel(label)
        figure.align_xlabels(panels[-1])
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), DEPTH), ax=list(panels.flat), pad=0.02, aspect=30)
        bar.set_ticks([0, 1], labels=["first", "last"])
        bar.set_label("block, by depth", labelpad=-12)
        sentences = [
            f"A mark is a block, with 95 % intervals over {split_of(files)}examples.",
            "ρ is Spearman's rank correlation over the n blocks that have the score; "
            "p is the share of random orders of them that correlate at least as strongly.",
        ]
        if any(row[0].get_yscale() == "symlog" for row in panels):
            sentences.append(
                "Where there is a grey band, the scale of the rise is linear in it and logarithmic beyond."
            )
        figure.supxlabel(wrapped(" ".join(sentences), width - 0.3), fontsize=NOTE)
    return figure


def against(axes: Axes, file: Results, name: str) -> Axes:
    """Draw the rise of the loss over one score, coloured by depth; Spearman's ρ above.

    Parameters
    ----------
    axes : Axes
    file : of kind "redundancy"
    name : of the score, see `ensemble.flow.scores.SCORES`

    Returns
    -------
    Axes
        The ones given. Blocks without this score, or whose rise is not finite, are not drawn.
    """
    done = file["done"]
    score, rise = (np.where(done, file[variable], np.nan) for variable in (name, "rise"))
    shown = np.isfinite(score) & np.isfinite(rise)
    bars = (Z95 * np.where(np.isfinite(se), se, 0)[shown] for se in (file[f"{name}_se"], file["rise_se"]))
    colours = colormap(DEPTH)(np.linspace(0, 1, len(score)))[shown]
    horizontal, vertical = bars
    axes.errorbar(score[shown], rise[shown], vertical, horizontal, fmt="none", ecolor="0.6", elinewidth=0.5, zorder=1)
    axes.scatter(score[shown], rise[shown], s=11, c=colours, linewidths=0.3, edgecolors="0.2", zorder=2)
    axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)
    rho, p, blocks = association(score, rise, int(file.attributes.get("seed", 0)))
    if not blocks:
        axes.text(0.5, 0.5, "no block has\nthis score", ha="center", va="center", transform=axes.transAxes, color="0.4")
    elif np.isfinite(rho):
        text = f"ρ = {rho:.2f}, {p_value(p, 1)}, n = {blocks}".replace("-", "−")
        axes.annotate(text, (0.5, 1), (0, 3), **ABOVE).set_in_layout(False)
    return axes


def _scale(axes: Axes, score: np.ndarray) -> None:
    """Scores of all networks, logarithmic where they span a factor of 5."""
    if not score.size:
        axes.set_xticks([])
    elif 0 < 5 * score.min() < score.max():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if score.max() < 50 * score.min() else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _rises(row: Sequence[Axes], file: Results) -> None:
    """Rises logarithmic where they span decades, but linear within their errors."""
    rise, error = (file[name][file["done"] & np.isfinite(file[name])] for name in ("rise", "rise_se"))
    within = 2 * np.median(error) if error.size else 0
    if 0 < within < rise.max() / 10 and rise.min() < rise.max() / 20:
        linear = float(10 ** np.round(np.log10(within)))
        row[0].set_yscale("symlog", linthresh=linear, linscale=0.6)
        # The ends have numbers, and marks and most of their bars lie within them.
        low = -rounded(max(-float((rise - error).min()), linear))
        high = rounded(1.2 * float(rise.max()))
        ticks = signed_ticks(low, high, linear, 7)
        row[0].set(ylim=(low, high))
        row[0].set_yticks(ticks, [label_of(tick) for tick in ticks])
        row[0].yaxis.set_minor_locator(NullLocator())
        for axes in row:
            axes.axhspan(-linear, linear, color="0.93", linewidth=0, zorder=-1)
