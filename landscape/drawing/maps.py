"""Panels of maps in a grid, with their colour bars: each has its place in inches, and none is left empty."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes

from landscape.drawing.layout import panel
from landscape.drawing.style import Figure
from landscape.drawing.words import axis_label
from landscape.engine.table import Results

__all__ = ["head_of", "name_axes", "sheet"]

LEFT, RIGHT = 0.47, 0.12  # inches beside the panels
GAP = 0.2  # inches between panels: half a tick label from either side
BAR = 0.09  # inches across a colour bar
BESIDE, BELOW = (
    0.95,
    0.85,
)  # inches for a bar with its labels: right of the panels, or with those of the panel below them


def sheet(
    width: float,
    rows: int,
    columns: int,
    *,
    shape: float = 1.0,
    head: float,
    foot: float,
    gap: tuple[float, float] = (GAP, GAP),
    below: bool = False,
) -> tuple[Figure, np.ndarray, list[Axes]]:
    """A figure with panels that fill its width, and axes for colour bars.

    Parameters
    ----------
    width : of the figure, in inches
    rows, columns : of panels
    shape : height of a panel, in its width
    head, foot : inches above the panels, for their titles, and below all that belongs to them
    gap : inches between panels, across and up; where it is the least one, only the outer panels have tick labels
    below : a horizontal bar below each column of a single row, and not a vertical one right of each row

    Returns
    -------
    figure : Figure
    panels : ndarray of Axes, shape (rows, columns)
    bars : one a row, or one a column if they are below
    """
    right, under = (RIGHT, BELOW) if below else (BESIDE, 0.36)
    side = (width - LEFT - right - gap[0] * (columns - 1)) / columns
    tall = shape * side
    figure = Figure((width, head + rows * tall + gap[1] * (rows - 1) + under + foot))
    lefts = [LEFT + (side + gap[0]) * column for column in range(columns)]
    bottoms = [foot + under + (tall + gap[1]) * row for row in reversed(range(rows))]
    panels = np.array([[panel(figure, x, y, side, tall) for x in lefts] for y in bottoms], object)
    for axes in panels[:, 1:].flat if gap[0] == GAP else ():
        axes.tick_params(labelleft=False)
    for axes in panels[:-1].flat if gap[1] == GAP else ():
        axes.tick_params(labelbottom=False)
    if below:
        return figure, panels, [panel(figure, x, foot + BELOW - 0.45, side, BAR) for x in lefts]
    return figure, panels, [panel(figure, width - right + 0.08, y, BAR, tall) for y in bottoms]


def head_of(names: Sequence[str], width: float, columns: int) -> tuple[list[str], float]:
    """Titles in as many lines as panels of a figure of so many inches need, and how many inches that takes."""
    letters = max(6, int(14 * (width - LEFT - BESIDE) / columns))  # 14 an inch
    filled = [fill(name, letters) for name in names]
    return filled, 0.1 + 0.13 * (1 + max(name.count("\n") for name in filled))


def name_axes(panels: np.ndarray, files: Sequence[Results], beside: bool) -> None:
    """Name the outer axes of two rows of maps, one column a file; of a single file whose two maps stand beside, all."""
    across, up = (
        getattr(panels[0, 0].get_window_extent(), side) / panels[0, 0].figure.dpi for side in ("width", "height")
    )
    for i, axes in enumerate(panels.flat if beside else panels[1]):
        axes.set_xlabel(axis_label("α", files[0 if beside else i], room=across))
    for axes in panels[0, :1] if beside else panels[:, 0]:
        axes.set_ylabel(axis_label("β", files[0], room=up))
