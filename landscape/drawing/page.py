"""Whole figures of planes from results files: contours above, reliefs below.

Sizes are in inches and every part has its place, so that text is as large as the paper's and nothing
is squeezed or left empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from landscape.drawing.layout import LINE, arranged, colour_bar, legend, panel
from landscape.drawing.scale import common_norm, extension, label_of
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, colormap, width_of
from landscape.drawing.surface import contours, relief, relief_extent
from landscape.drawing.views import measured, shown
from landscape.drawing.words import axis_label, loss_label, notes_of, split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["PARTS", "contour", "place_of", "planes"]

NARROW = 1.6  # inches of a panel
CENTRE: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": NOTE, "annotation_clip": False}
LEFT, RIGHT, GAP = 0.5, 0.1, 0.14  # inches beside and between panels
NAMES = 0.1  # inches below a relief for the names of its axes
PARTS = ("contours", "reliefs")


def planes(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    levels: Sequence[float] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
    view: tuple[float, float] = (35, -55),
    variable: str = "loss",
    only: str | None = None,
) -> Figure:
    """Draw surfaces side by side on one scale: contours above, reliefs below.

    Parameters
    ----------
    files : surfaces over (y, x)
    titles : one a file; by default the names of the networks
    width : of the figure, in inches
    levels : losses to draw a contour at
    vmin, vmax : ends of the scale; see `common_norm`
    linear : a linear scale instead of a logarithmic one
    cmap : name of a colour map
    view : elevation and azimuth of the eye, in degrees
    variable : which loss, where a file has several: test_loss, mse, objective, …
    only : one of `PARTS`, to leave out the other

    Returns
    -------
    Figure
    """
    files = [shown(file, variable) for file in files]
    for file in files:
        _check_grid(file)
    losses = [measured(file) for file in files]
    norm = common_norm(losses, vmin, vmax, linear)
    beyond = extension(norm, losses)
    notes = notes_of(files, losses, norm, beyond)
    gap = _gap(files, only)
    side = _side(_columns(files, only), check_width(width, 0.8 * len(files) + 0.5), gap)
    titles = [fill(title, int(14 * side)) for title in titles_of(files, titles)]  # 14 letters an inch
    colours = colormap(cmap)
    centres = _centres(files, side)
    under = max(centre.count("\n") + bool(centre) for centre in centres)  # lines below the titles
    with matplotlib.rc_context(STYLE):
        lines = 1 + max(title.count("\n") for title in titles) + under
        figure, tops, bottoms, bar = _sheet(files, width, lines, arranged(notes, width)[1], only, view)
        for i, (file, loss, title, centre) in enumerate(zip(files, losses, titles, centres, strict=True)):
            x, y, done = file.coordinates["x"], file.coordinates["y"], file.known
            if tops:
                axes = contours(tops[i], x, y, loss, norm, done=done, levels=levels, cmap=colours, mark=place_of(file))
                axes.set_title(title, pad=4 + 72 * LINE * under)
                axes.annotate(centre, (0.5, 1), (0, 3), "axes fraction", "offset points", **CENTRE)
                axes.set_xlabel(axis_label("α", file, room=side))
                if i == 0:
                    axes.set_ylabel(axis_label("β", file, room=axes.bbox.height / figure.dpi))
                elif gap == GAP:  # one range for all
                    axes.tick_params(labelleft=False)
                if len(files) > 1 and gap == GAP:
                    _inward(axes, 2 if side < NARROW else 4)
            if bottoms:
                upright = f"{split_of(files)}loss" if i == 0 else None  # one scale for all
                relief(bottoms[i], x, y, loss, norm, done=done, cmap=colours, view=view, label=upright)
            if not tops:  # a relief does not fill its axes, and a title above them would hang in the air
                across, up = figure.get_size_inches()
                middle = bottoms[i].get_position().x0 + side / across / 2
                figure.text(middle, 1 - 0.06 / up, title, ha="center", va="top", fontsize=STYLE["axes.titlesize"])
                below = 0.08 + 0.13 * (lines - under)
                figure.text(middle, 1 - below / up, centre, ha="center", va="top", fontsize=NOTE)
        label = loss_label(files, ", log scale" if isinstance(norm, LogNorm) else "")
        colour_bar(figure, norm, colours, levels, beyond, label, cax=bar, orientation="horizontal")
        legend(figure, "lower center", notes)
    return figure


def contour(
    axes: Axes,
    files: Sequence[Results],
    *,
    levels: Sequence[float] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
    variable: str = "loss",
) -> Axes:
    """Draw one surface onto axes as contours, without a colour bar.

    Parameters
    ----------
    axes : Axes
    files : one surface over (y, x)
    levels, vmin, vmax, linear, cmap, variable : as for `planes`

    Returns
    -------
    Axes
        The ones given; a colour bar can be made of their first collection, ``axes.collections[0]``.
    """
    if len(files) != 1:
        raise BadInput(f"one axes shows one surface over a plane, got {len(files)}; draw each onto axes of its own")
    (file,) = [shown(file, variable) for file in files]
    _check_grid(file)
    x, y, loss = file.coordinates["x"], file.coordinates["y"], measured(file)
    norm = common_norm([loss], vmin, vmax, linear)
    contours(axes, x, y, loss, norm, done=file.known, levels=levels, cmap=colormap(cmap), mark=place_of(file))
    axes.set(xlabel=axis_label("α", file), ylabel=axis_label("β", file))
    return axes


def _check_grid(file: Results) -> None:
    if min(file["loss"].shape) < 2:
        raise BadInput(f"{file.source} is a grid of {file['loss'].shape} points; contours need 2 or more each way")


def _centres(files: Sequence[Results], width: float) -> list[str]:
    """The loss and the error at the centre of each file, on as few lines as panels of that width have room for."""
    parts = [_centre(file) for file in files]
    for first, second in ((" ", " "), (" ", "\n"), ("\n", "\n")):
        texts = [second.join([first.join(each[:2]), *each[2:]]) for each in parts]
        if all(width_of(line) <= width for text in texts for line in text.split("\n")):
            break
    return texts


def place_of(file: Results) -> tuple[float, float]:
    """Where the network itself lies in its plane: of directions at 0, and of gates, for which 0 is a lesion, at 1."""
    return (1.0, 1.0) if "gates" in file.attributes else (0.0, 0.0)


def _centre(file: Results) -> list[str]:
    """The loss and the error of the network itself; nothing if they were not measured."""
    place = place_of(file)
    at = tuple(np.flatnonzero(file.coordinates[axis] == end) for axis, end in zip("xy", place, strict=True))[::-1]
    if not (all(map(len, at)) and file.known[np.ix_(*at)].all()):
        return []
    where = "at (1, 1), as trained:" if any(place) else "at the centre:"
    loss, accuracy = (float(each[np.ix_(*at)].squeeze()) for each in (file["loss"], file.accuracy()))
    if not np.isfinite(loss):
        return []
    said = f"{loss_label([file]).removeprefix(split_of([file])).split(' (')[0]} {label_of(loss)}"
    if not np.isfinite(accuracy):
        return [where, said]
    return [where, f"{said},", f"error {100 * (1 - accuracy):.3g} %"]


def _inward(axes: Axes, number: int) -> None:
    """So many labels, and those at the ends of an axis within it, so that they do not run into those of a neighbour."""
    low, high = axes.get_xlim()
    ticks = [tick for tick in MaxNLocator(number, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]
    axes.set_xticks(ticks)
    for tick, label in zip(ticks, axes.get_xticklabels(), strict=True):
        label.set_horizontalalignment("left" if tick == low else "right" if tick == high else "center")


def _columns(files: Sequence[Results], only: str | None) -> int:
    """Panels side by side; a single network has its contours and its relief there."""
    return len(files) if only else max(2, len(files))


def _gap(files: Sequence[Results], only: str | None) -> float:
    """Inches between panels: more if each has a range of its own to tell, or a relief its scale."""
    if len(files) == 1 and only is None:
        return LEFT
    ranges = {tuple(file.coordinates["y"][[0, -1]]) for file in files}
    return GAP if len(ranges) == 1 or only == "reliefs" else LEFT - 0.1


def _side(columns: int, width: float, gap: float) -> float:
    """Of one panel, in inches."""
    return (width - LEFT - RIGHT - gap * (columns - 1)) / columns


def _sheet(
    files: Sequence[Results], width: float, lines: int, notes: int, only: str | None, view: tuple[float, float]
) -> tuple:
    """A figure with places for contours, reliefs and the colour bar.

    Contours stand above reliefs; of a single network, beside its relief.

    Parameters
    ----------
    lines : of the longest title
    notes : lines of them below the bar
    """
    under, bar = 0.4, 0.09
    head, foot = 0.1 + 0.13 * lines, 0.36 + (0.02 + LINE * notes if notes else 0)
    across, gap = _columns(files, only), _gap(files, only)
    side = _side(across, width, gap)
    beside = len(files) == 1 and not only
    shapes = [np.ptp(file.coordinates["y"]) / np.ptp(file.coordinates["x"]) for file in files]
    tall = 0 if only == "reliefs" else side * np.clip(max(shapes), 0.3, 1.5)
    # Axes of a relief are square, and it does not fill them.
    extents = np.array([relief_extent(file.coordinates["x"], file.coordinates["y"], view) for file in files])
    least, most = side * extents[:, 0].min(), side * extents[:, 1].max()
    deep = 0 if only == "contours" else most - least + NAMES
    low = foot + bar + (max(0, (deep - tall) / 2 - under) if beside else deep) + under * (only != "reliefs")
    figure = Figure((width, low + tall + head))
    columns = [LEFT + i * (side + gap) for i in range(across)]
    tops = [panel(figure, x, low, side, tall) for x in columns[: len(files)] if tall]
    bottom = (low + tall / 2 - (most + least) / 2) if beside else foot + bar + NAMES - least
    reliefs = columns[-len(files) :] if deep else []
    bottoms = [panel(figure, x, bottom, side, side, projection="3d") for x in reliefs]
    inner = width - LEFT - RIGHT
    return figure, tops, bottoms, panel(figure, LEFT + 0.12 * inner, foot, 0.76 * inner, bar)
