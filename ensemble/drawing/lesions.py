"""Figures of lesions: the error when blocks are deleted, trade places, run twice, or give something else.

Where accuracy is not defined, they show the loss. Errors are in percent; blocks stand in the order of the forward
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from ensemble.drawing.marks import DOT
from ensemble.drawing.measure import SAME, as_errors, bounded
from ensemble.drawing.panels import counts, kinds, multiples, neighbours, orders, panel_of, singles
from landscape.drawing.layout import arranged
from landscape.drawing.style import LEGEND, NOTE, STYLE, Figure, check_width, looks_of, width_of, wrapped
from landscape.drawing.views import shown
from landscape.drawing.words import titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["blocks", "lesions"]

ROUNDING = 1e-6


def lesions(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    variable: str | None = None,
) -> Figure:
    """Draw lesion tables: a panel for single deletions, for deletions of many blocks, for other orders, and so on.

    Parameters
    ----------
    files : lesion tables. One that never deletes more than one block at a time belongs to the left. Where blocks give
        something else or stand side by side, bars compare that with single deletions.
    titles : one a file; by default the names of the networks. Files of one title share a colour.
    width : of the figure, in inches
    variable : what is drawn, such as "loss", "kl" or another metric; by default the error

    Returns
    -------
    Figure
        Of errors; of losses if accuracy is not defined in one of the files.
    """
    files = files if variable is None else [_of(file, variable) for file in files]
    titles, errors = titles_of(files, titles, SAME), as_errors(files)
    color = {title: look["color"] for title, look in looks_of(titles).items()}
    sides: dict = {singles: [], multiples: [], neighbours: [], orders: [], counts: [], kinds: []}
    for file, title in zip(files, titles, strict=True):
        sides[panel_of(file)].append((file, title))
    if sides[kinds]:
        sides[kinds] = [*sides[singles], *sides[counts], *sides[kinds]]
    sides = {draw: pairs for draw, pairs in sides.items() if pairs}
    with matplotlib.rc_context(STYLE):
        figure, panels = _laid_out(sides, width)
        keys: dict[str, dict | None] = {}
        for axes, (draw, pairs) in zip(panels, sides.items(), strict=True):
            keys |= draw(axes, pairs, color, errors)
            room = width * axes.get_position().width + 0.2  # inches; a label may be somewhat longer than its axis
            if draw is kinds:  # beside names
                size = STYLE["ytick.labelsize"]
                lines = [wrapped(tick.get_text(), 0.4 * width, size) for tick in axes.get_yticklabels()]
                axes.set_yticks(axes.get_yticks(), lines)
                room -= max(width_of(line, size) for name in lines for line in name.split("\n"))
            axes.set_xlabel(wrapped(axes.get_xlabel(), room, STYLE["axes.labelsize"]))
        if not errors:
            _share_scale([axes for axes, draw in zip(panels, sides, strict=True) if draw is not kinds], files)
        _add_legends(figure, width, color, keys, bars=list(sides) == [kinds])
    return figure


def _laid_out(sides: Collection[Callable], width: float) -> tuple[Figure, list[Axes]]:
    """A figure with axes for these panels, in their order."""
    stacked = check_width(width) < 4.5
    number = len(sides) - (kinds in sides)
    beside = 3 if number == 3 and width >= 5 and singles not in sides else 2  # none stands alone in its row
    columns = 1 if stacked else min(beside, max(1, number))
    places: list[tuple] = [divmod(i, columns) for i in range(number)]
    if number % columns:
        places[-1] = (places[-1][0], slice(places[-1][1], None))
    if kinds in sides:  # last, in a row of its own: its names take room
        places.append((-(-number // columns), slice(None)))
    rows = 1 + places[-1][0]
    figure = Figure((width, 2.3 * rows), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.03))
    ratios = [1.6 if singles in sides else 1, *[1] * (columns - 1)]
    grid = figure.add_gridspec(rows, columns, width_ratios=ratios)
    return figure, [figure.add_subplot(grid[place]) for place in places]


def _add_legends(figure: Figure, width: float, color: dict[str, str], keys: dict[str, dict | None], bars: bool) -> None:
    """The networks above; below, what the marks are, under sentences about them."""
    look: dict[str, Any] = {"linewidth": 5, "alpha": 0.6} if bars else DOT
    names = [Line2D([], [], color=c, label=title, **look) for title, c in color.items()]
    figure.legend(handles=names, loc="outside upper center", ncols=arranged(names, width, LEGEND)[0])
    sentences = wrapped(" ".join(key for key, look in keys.items() if look is None), width - 0.3)
    notes = [Line2D([], [], color="0.3", label=key, **look) for key, look in keys.items() if look is not None]
    if notes or sentences:
        text: dict[str, Any] = {"title": sentences or None, "title_fontsize": NOTE, "fontsize": NOTE}
        figure.legend(handles=notes, loc="outside lower center", ncols=arranged(notes, width)[0], **text)


def blocks(axes: Axes, files: Sequence[Results], *, titles: Sequence[str] | None = None) -> Axes:
    """Draw the error after each single deletion onto axes.

    Parameters
    ----------
    axes : Axes
    files : tables of single deletions
    titles : as for `lesions`

    Returns
    -------
    Axes
        The ones given; every network has a label, for ``axes.legend()``.
    """
    for file in files:
        if panel_of(file) is not singles:
            raise BadInput(
                f"{file.source} has more than single deletions, which are drawn as a whole figure; leave out ax"
            )
    titles, errors = titles_of(files, titles, SAME), as_errors(files)
    color = {title: look["color"] for title, look in looks_of(titles).items()}
    singles(axes, list(zip(files, titles, strict=True)), color, errors)
    if not errors:
        _share_scale([axes], files)
    for title, one in color.items():
        axes.plot([], [], "o", color=one, markersize=2.6, label=title)
    return axes


def _share_scale(panels: Sequence[Axes], files: Sequence[Results]) -> None:
    """Give panels of losses one axis, so that heights compare between them."""
    for axes in panels:
        bounded(axes, files, errors=False)
    ends = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


def _of(file: Results, variable: str) -> Results:
    """A file whose loss is another variable, and that has no accuracy."""
    file = shown(file, variable)
    variables = {name: array for name, array in file.variables.items() if name != "accuracy"}
    if variable != "loss":  # what compares with the intact network is 0 there, but for rounding
        variables["loss"] = np.where(np.abs(variables["loss"]) < ROUNDING, 0, variables["loss"])
    return replace(file, variables=variables)
