"""A figure of which blocks interact: an arc for each pair whose interaction differs from 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Arc
from matplotlib.ticker import MaxNLocator

from ensemble.attribution.interaction import LEVEL, Matrix
from ensemble.attribution.interaction import interactions as matrix_of
from ensemble.drawing.measure import as_errors
from landscape.drawing.layout import arranged
from landscape.drawing.scale import label_of
from landscape.drawing.style import COLORS, NOTE, STYLE, Figure, check_width, wrapped
from landscape.drawing.words import split_of, titles_of, unit_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["arcs", "network"]

MORE, LESS = COLORS[1], COLORS[0]  # than the sum of both
WIDEST, THINNEST = 3.0, 0.3  # points of an arc
LEAST = 1.6  # inches of a panel
PARTS = {"attention": "o", "mlp": "s"}  # marks of blocks; of others a disc
NAMES = {"attention": "attention", "mlp": "MLP"}


def network(
    files: Sequence[Results],
    *,
    show: str = "network",
    variable: str | None = None,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
) -> Figure:
    """Draw the interactions of pairs of blocks as arcs between them, a panel a network.

    Parameters
    ----------
    files : of ``lesion.py --delete 1 2``
    show : "network", by which this figure is chosen
    variable : "error" or "loss"; by default the error, where accuracy is defined
    titles : one a file; by default the names of the networks
    width : of the figure, in inches

    Returns
    -------
    Figure
        Arcs go above where two deletions cost more than the sum of both, below where they cost less, and are as wide as
        that is much. Pairs that are not told from 0 have none.
    """
    if show != "network" or variable not in (None, "error", "loss"):
        raise BadInput(f"there is no {show} of {variable} of pairs of blocks; show the network of error or loss")
    loss = variable == "loss" or not as_errors(files)
    matrices = [matrix_of(file, loss) for file in files]
    off = [np.where(each.significant, np.abs(each.value), 0) for each in matrices]
    most = max(float(each.max(initial=0)) for each in off) or 1.0
    names = titles_of(files, titles)
    columns = min(len(files), int((check_width(width, LEAST + 0.4) - 0.3) / LEAST))
    rows = -(-len(files) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, 1.7 * rows + 0.8), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(files) :]:
            axes.set_axis_off()
        for axes, file, matrix, title in zip(panels, files, matrices, names, strict=False):
            arcs(axes, matrix, list(file.coordinates["block"]), most)
            upper = np.triu_indices(len(matrix.value), 1)
            number, known = int(matrix.significant[upper].sum()), int(np.isfinite(matrix.q[upper]).sum())
            above = wrapped(title, width / columns - 0.2, STYLE["axes.titlesize"])
            axes.set_title(f"{above}\n{number} of {known} pairs")
        shown = {
            part for file in files for part in PARTS if any(str(b).endswith(part) for b in file.coordinates["block"])
        }
        key = [Line2D([], [], color=MORE, label="more than the sum of both"), Line2D([], [], color=LESS, label="less")]
        mark: dict[str, Any] = {"linestyle": "none", "color": "0.3", "markersize": 3}
        key += [Line2D([], [], marker=PARTS[part], label=NAMES[part], **mark) for part in PARTS if part in shown]
        beside, _ = arranged(key, width)
        figure.legend(handles=key, loc="outside upper center", ncols=beside, fontsize=NOTE, borderpad=0.1)
        unit = unit_of(files) if loss else f"points of {split_of(files)}error"
        size = label_of(most * (1 if loss else 100))
        note = (
            "An arc joins two blocks that do not act alone: to delete both costs more, or less, than the sum of both "
            f"(false discovery rate {100 * LEVEL:g} %). The wider an arc, the more; the widest is {size} {unit}."
        )
        figure.supxlabel(wrapped(note, width - 0.3), fontsize=NOTE)
    return figure


def arcs(axes: Axes, matrix: Matrix, blocks: Sequence[str], most: float) -> Axes:
    """Draw blocks along a line, by depth, and arcs between those that interact.

    Parameters
    ----------
    axes : Axes
    matrix : Matrix
    blocks : their names
    most : the size of the interaction whose arc is widest

    Returns
    -------
    Axes
        The ones given.
    """
    number = len(blocks)
    for one, other in zip(*np.nonzero(np.triu(matrix.significant, 1)), strict=True):
        size, more = abs(matrix.value[one, other]) / most, matrix.value[one, other] > 0
        middle, span = (one + other) / 2 + 1, other - one
        how: dict[str, Any] = {
            "color": MORE if more else LESS,
            "linewidth": max(THINNEST, WIDEST * size),
            "alpha": 0.4 + 0.5 * size,
        }
        axes.add_patch(Arc((middle, 0), span, span, theta1=0 if more else 180, theta2=180 if more else 360, **how))
    for marker in {*PARTS.values()}:
        at = [i + 1 for i, name in enumerate(blocks) if _mark(name) == marker]
        axes.plot(at, [0] * len(at), marker, color="0.3", markersize=max(1.5, min(3.0, 60 / number)), zorder=3)
    reach = max(1, number - 1) / 2 * 1.08
    axes.set(xlim=(0.3, number + 0.7), ylim=(-reach, reach), yticks=[], xlabel="block, by depth")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return axes


def _mark(block: str) -> str:
    return next((marker for part, marker in PARTS.items() if str(block).endswith(part)), "o")
