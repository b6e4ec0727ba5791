"""Figures of what blocks are worth: values beside damages, and how far two deletions are from the sum of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.container import ErrorbarContainer
from matplotlib.legend_handler import HandlerPatch
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import MaxNLocator

from ensemble.attribution import interaction, shapley
from ensemble.attribution.interaction import Matrix
from ensemble.drawing.measure import SAME, as_errors, measured
from ensemble.drawing.stages import depth_order
from landscape.drawing.curvature import signed_norm
from landscape.drawing.layout import LINE
from landscape.drawing.maps import BESIDE, LEFT, head_of, sheet
from landscape.drawing.scale import label_of, limits_of, linear_within, signed_ticks
from landscape.drawing.spectrum import hidden
from landscape.drawing.style import LEGEND, NOTE, STYLE, Figure, abreast, check_width, wrapped
from landscape.drawing.words import loss_label, split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["by_pair", "by_value", "interactions", "values"]

CMAP = "PuOr_r"  # told apart by all kinds of colour vision; white is nothing
EDGE = "0.2"
AXIS = "deleted block, by depth"
LEAST, MOST = 1.5, 2.6  # inches of a matrix
MARK = 2.5  # points of a Shapley value's mark
ACROSS = 0.34  # inches between matrices


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
        Of the error, in points; of the loss where targets are not classes. Cells that are filled differ from 0, a small
        square is a pair that cannot be told from 0, see `ensemble.attribution.interaction.interactions`. Discs on the
        diagonal are what the deletion of one block costs. The scale is linear up to a point and logarithmic beyond.
    """
    loss = not as_errors(files)
    matrices = [interaction.interactions(file, loss) for file in files]
    factor = 1 if loss else 100
    norm = signed_norm([sign * factor * m.value for m in matrices for sign in (1, -1)], None if loss else 1.0)
    columns = min(len(files), max(1, int((check_width(width, 2.6) - LEFT - BESIDE + ACROSS) / (LEAST + ACROSS))))
    rows = -(-len(files) // columns)
    width = min(width, LEFT + BESIDE + MOST * columns + ACROSS * (columns - 1))
    what = f"{loss_label(files)}" if loss else f"{split_of(files)}error (points)"
    sentences = (
        "A cell is the interaction of two blocks: the rise when both are deleted, beyond the sum of both rises. "
        f"The scale is {linear_within(norm.linthresh)}."
    )
    with matplotlib.rc_context(STYLE):
        edge: dict[str, Any] = {"facecolor": "white", "edgecolor": EDGE, "linewidth": 0.5}
        key = [
            Rectangle((0, 0), 1, 1, label="differs from 0", **edge),
            Rectangle((0, 0), 0.5, 0.5, label="not told from 0 (false discovery rate 5 %)", **edge),
            Circle((0, 0), 1, label="one block: the rise by itself", **edge),
        ]
        note = wrapped(sentences, width - 0.3)
        beside = abreast([str(each.get_label()) for each in key], width, 3)
        lines = -(-len(key) // beside)
        names, head = head_of(titles_of(files, titles), width, columns)
        foot = 0.12 + 0.11 * (1 + note.count("\n")) + LINE * lines
        gap = (ACROSS, 0.36 + head)
        figure, panels, bars = sheet(width, rows, columns, head=head, foot=foot, gap=gap)
        for axes in panels.flat[len(files) :]:
            axes.set_visible(False)
        for axes, one, title in zip(panels.flat, matrices, names, strict=False):
            by_pair(axes, one, norm, factor)
            axes.set_title(title)
        for axes in panels[-1]:
            axes.set_xlabel(AXIS)
        for axes in panels[:, 0]:
            axes.set_ylabel(AXIS)
        place, lowest = bars[0].get_position(), bars[-1].get_position()
        for unused in bars[1:]:
            unused.remove()
        bars[0].set_position((place.x0, lowest.y0, place.width, place.y1 - lowest.y0))
        bar = figure.colorbar(ScalarMappable(norm, CMAP), cax=bars[0], label=f"rise of {what}".replace(" (", "\n("))
        ticks = signed_ticks(*limits_of(norm), norm.linthresh)
        bar.set_ticks(ticks, labels=[label_of(tick) for tick in ticks])
        bar.minorticks_off()
        bar.outline.set_linewidth(0.5)
        text: dict[str, Any] = {"title": note, "title_fontsize": NOTE, "fontsize": NOTE, "handlelength": 0.8}
        shapes = {Circle: HandlerPatch(_disc), Rectangle: HandlerPatch(_square)}
        figure.legend(
            handles=key, handler_map=shapes, loc="lower center", ncols=beside, borderpad=0.1, borderaxespad=0.3, **text
        )
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
        The ones given: a mesh of the pairs that differ from 0, small squares of those that cannot be told from it, and
        discs of single deletions.
    """
    number = len(matrix.value)
    edges = np.arange(number + 1) + 0.5
    one = np.eye(number, dtype=bool)
    unsure = np.isfinite(matrix.value) & ~matrix.significant & ~one
    values = factor * matrix.value
    axes.set_facecolor("0.85")  # where nothing is measured
    blank = np.ma.masked_where(~(unsure | one), np.ones(values.shape))
    axes.pcolormesh(edges, edges, blank, cmap="gray", vmin=0, vmax=1, rasterized=True)
    sure = np.ma.masked_where(unsure | one | ~np.isfinite(values), values)
    axes.pcolormesh(edges, edges, sure, cmap=CMAP, norm=norm, rasterized=True)
    looks: dict[str, Any] = {"cmap": CMAP, "norm": norm, "edgecolor": EDGE}
    second, first = np.nonzero(unsure)
    squares = [Rectangle((x + 0.75, y + 0.75), 0.5, 0.5) for x, y in zip(first, second, strict=True)]
    width = min(0.4, 6 / number)
    axes.add_collection(PatchCollection(squares, array=values[unsure], linewidth=width, **looks))
    known = np.flatnonzero(np.isfinite(np.diag(values)))
    discs = [Circle((k + 1, k + 1), 0.42) for k in known.tolist()]
    axes.add_collection(PatchCollection(discs, array=np.diag(values)[known], linewidth=1.5 * width, **looks))
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
            what = f"{split_of(mine)}error (points)" if errors else loss_label(mine)
            axes.set_ylabel(f"rise of {what}".replace(" (", "\n("))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[-1].set_xlabel("block, by depth")
        figure.legend(
            list(drawn.values()), list(drawn), loc="outside upper center", ncols=abreast(list(drawn), width, 2, LEGEND)
        )
        _say_intervals(figure, width)
    return figure


def _say_intervals(figure: Figure, width: float) -> None:
    """Say at the foot which intervals are too short to be seen."""
    bars = [(axes, c.lines[2][0]) for axes in figure.axes for c in axes.containers if isinstance(c, ErrorbarContainer)]
    if not bars:
        return
    note: dict[str, Any] = {"fontsize": NOTE}
    figure.supxlabel("95 % intervals", **note)  # has its place before what is seen is looked at
    ends = [(axes, np.array(bar.get_segments())[..., 1].T) for axes, bar in bars]
    unseen = np.concatenate([hidden(axes, low, high, MARK) for axes, (low, high) in ends])
    if unseen.all():
        most = max(float(np.ptp(both, axis=0).max()) for _, both in ends) / 2
        text = f"The 95 % intervals, at most ±{label_of(most, 2)}, are smaller than the marks."
    else:
        text = "Lines are 95 % intervals" + ("; those not seen are smaller than the marks." if unseen.any() else ".")
    figure.supxlabel(wrapped(text, width - 0.3), **note)


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
        look: dict[str, Any] = {"color": "0.1", "fmt": "o", "markersize": MARK, "elinewidth": 0.8}
        return {"Shapley value": axes.errorbar(place, factor * estimates.mean, factor * estimates.half, **look)}
    if file["deleted"].sum(axis=1).max() > 1:
        raise BadInput(
            f"{file.source} deletes several blocks at once; beside Shapley values draw those of single deletions"
        )
    alone = np.flatnonzero(file["deleted"].any(axis=1) & file["done"])
    intact = payoff[~file["deleted"].any(axis=1)][0]
    at = [order.index(names[block]) + 1 for block in file["deleted"][alone].argmax(axis=1)]
    bars = axes.bar(at, factor * (payoff[alone] - intact), color="0.75", width=0.8, linewidth=0)
    return {"rise when the block alone is deleted": bars}


def _disc(*, xdescent: float, ydescent: float, width: float, height: float, fontsize: float, **_: Any) -> Circle:
    """A disc in a legend, as tall as its letters."""
    return Circle((width / 2 - xdescent, height / 2 - ydescent), 0.45 * fontsize)


def _square(
    *, orig_handle: Rectangle, xdescent: float, ydescent: float, width: float, height: float, fontsize: float, **_: Any
) -> Rectangle:
    """A square in a legend, of which one of side 1 is as tall as its letters."""
    side = 0.9 * fontsize * orig_handle.get_width()
    return Rectangle((width / 2 - xdescent - side / 2, height / 2 - ydescent - side / 2), side, side)
