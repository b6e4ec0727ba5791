"""A film of a training: its path grows, checkpoint by checkpoint, over the surface measured in its plane.

A path leaves its plane, and by how much is shown at every moment, as a part of ‖θ − θ*‖: the distance of the weights θ
from θ*, the network at the centre of the plane. The surface is that of the plane itself, through θ*, at all moments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from landscape.drawing.animation import Film
from landscape.drawing.layout import LINE, arranged, colour_bar, legend, panel
from landscape.drawing.scale import common_norm, extension, label_of
from landscape.drawing.style import COLORS, NOTE, STYLE, Figure, check_width, colormap
from landscape.drawing.surface import contours
from landscape.drawing.trajectory import (
    END,
    FLAT,
    MARKER,
    START,
    TRUE,
    path,
    plane_of,
    points_of,
    spans_decades,
    surfaces_beneath,
)
from landscape.drawing.words import COMPONENTS, axis_label, loss_label, notes_of, split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["INKS", "Moments", "film", "known", "moments_of", "off_plane"]

INKS = tuple(COLORS[i] for i in (1, 3, 6, 4, 5, 0, 2))  # of paths, those first that are seen best over a surface
CENTRE: dict[str, Any] = {"color": "black", "linestyle": "none", "marker": "+", "markersize": 5, "markeredgewidth": 0.7}
TEST: dict[str, Any] = {"linestyle": (0, (1, 1))}
PLAIN: dict[str, Any] = {"marker": ""}
HEADED: dict[str, Any] = {"marker": "o", "markersize": 3, "markevery": [-1]}  # a line with a point at its end
GROUND = "the surface lies, at every moment, in the plane through θ*"
LEFT, GAP, RIGHT, HEAD, UNDER, BETWEEN = 0.5, 0.66, 0.12, 0.3, 0.36, 0.12  # inches around the panels
TALL, LOW = 0.75, 0.5  # inches of the losses and of what is off the plane, at least
TEXT = 0.135  # inches of a line of what is told

Show = Callable[[int], None]


class Moments(NamedTuple):
    """The moments of a film of several paths.

    Attributes
    ----------
    name : "epoch" or "checkpoint"
    times : ndarray, shape (n,), the moments in these
    along : of each path the times of its checkpoints
    numbers : of each path, shape (n,), how many of its checkpoints have been by then; 1 or more
    """

    name: str
    times: np.ndarray
    along: list[np.ndarray]
    numbers: list[np.ndarray]


def moments_of(paths: Sequence[Results]) -> Moments:
    """A moment for each checkpoint: at its epoch, if every path has epochs that grow, or else by its number.

    A path measured in the plane of another one's components ends, in its file, with the network at the centre. That is
    the end of the other path, and left out where both are shown.

    Parameters
    ----------
    paths : sequence of Results
        Of kind "trajectory".

    Returns
    -------
    Moments
    """
    theirs = {plane_of(file) for file in paths if file.attributes.get("directions") == COMPONENTS}
    lengths = [
        len(file["alpha"]) - (file.attributes.get("directions") != COMPONENTS and plane_of(file) in theirs)
        for file in paths
    ]
    along = [file.variables.get("epoch", np.zeros(0))[:length] for file, length in zip(paths, lengths, strict=True)]
    name = "epoch"
    if not all(len(epochs) and (np.diff(epochs) > 0).all() for epochs in along):
        name, along = "checkpoint", [np.arange(length) for length in lengths]
    times = np.unique(np.concatenate(along))
    return Moments(name, times, along, [np.searchsorted(each, times, side="right").clip(min=1) for each in along])


def off_plane(file: Results) -> np.ndarray:
    """How far each checkpoint is off the plane.

    Parameters
    ----------
    file : Results
        Of kind "trajectory".

    Returns
    -------
    ndarray, shape (checkpoints,)
        As a part of its distance from the centre; NaN at the centre itself.
    """
    off, distance = file["off_plane"], file["distance"]
    return np.divide(off, distance, out=np.full(len(off), np.nan), where=distance > 0)


def film(
    files: Sequence[Results] | Results,
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    levels: Sequence[float] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
) -> Film:
    """A film of trainings: their paths grow in their planes; paths of one plane share a panel.

    Parameters
    ----------
    files : Results, or several
        Of kind "trajectory", with the surfaces in their planes, if there are any, in any order.
    titles : sequence of str, optional
        One for each path; by default the names of the networks.
    width : float
        Of the figure, in inches.
    levels : sequence of float, optional
        Losses to draw a contour of the surfaces at.
    vmin : float, optional
        Lower end of the scale of the surfaces; see `landscape.drawing.common_norm`.
    vmax : float, optional
        Upper end of that scale.
    linear : bool
        Whether that scale is linear, and not logarithmic.
    cmap : str
        Name of a colour map.

    Returns
    -------
    Film
        With a frame for each moment, that is, for each epoch or checkpoint of any path; `save_film` saves it.

    Raises
    ------
    BadInput
        There is no path, or one of a single checkpoint; or a surface that is in the plane of no path.

    Examples
    --------
    >>> import torch
    >>> import skipscape as ss
    >>> network = torch.nn.Linear(4, 3)
    >>> evaluate = ss.Evaluator(network, [(torch.randn(8, 4), torch.arange(8) % 3)])
    >>> weights = {f"epoch-{i}": {"weight": torch.randn(3, 4), "bias": torch.zeros(3)} for i in range(4)}
    >>> moving = film(ss.trajectory(evaluate, weights, quiet=True))
    >>> ss.save_film(moving, "training.gif", seconds=2)
    """
    files = [files] if isinstance(files, Results) else list(files)
    paths = [file for file in files if file.kind == "trajectory"]
    others = [file for file in files if file.kind not in ("trajectory", "surface")]
    if others or not paths:
        kinds = ", ".join(f"{file.source} is a {file.kind}" for file in others or files) or "there are no results"
        raise BadInput(f"a film shows paths of trainings, with the surfaces in their planes, but {kinds}; give others")
    beneath = surfaces_beneath(paths, [file for file in files if file.kind == "surface"])
    moments, names, colours = moments_of(paths), titles_of(paths, titles), colormap(cmap)
    for file, along in zip(paths, moments.along, strict=True):
        if len(along) < 2:
            raise BadInput(f"{file.source} has one checkpoint, of which there is no film; give a path of 2 or more")
    planes: dict[tuple, list[int]] = {}
    for i, file in enumerate(paths):
        planes.setdefault(plane_of(file), []).append(i)
    together = list(planes.values())
    surfaces = [beneath[i] for i, *_ in together] if beneath else []
    measured = [np.where(surface.known, surface["loss"], np.nan) for surface in surfaces]
    norm = common_norm(measured, vmin, vmax, linear)
    beyond = extension(norm, measured) if surfaces else "neither"
    notes = notes_of(surfaces, measured, norm, beyond) if surfaces else []
    notes[:0] = [Line2D([], [], linestyle="none", label=GROUND)] * bool(surfaces)
    keys = _keys(paths, max(map(len, together)) == 1)
    width = check_width(width, 1.7 * len(together) + 1.7)
    beside, rows = arranged(keys, width, most=3)
    line = LINE * arranged(notes, width)[1] + 0.02
    above = line + LINE * rows
    foot = UNDER + above + (0.56 if surfaces else 0.04)
    texts = [[_lines(paths[i], names[i] if len(paths) > 1 else None) for i in group] for group in together]
    shows: list[Show] = []
    with matplotlib.rc_context(STYLE):
        figure, places = _sheet(width, foot, len(together), max(sum(map(len, each)) for each in texts))
        left, top = places[0][-1]
        clock = figure.text(left, top, "", fontsize=10, va="top", ha="left" if len(together) == 1 else "center")
        for j, (group, (map_axes, loss, off, spot, _)) in enumerate(zip(together, places, strict=True)):
            mine = [paths[i] for i in group]
            inks = [INKS[i % len(INKS)] for i in range(len(group))]
            numbers, times = ([each[i] for i in group] for each in (moments.numbers, moments.along))
            if surfaces:
                x, y = (surfaces[j].coordinates[letter] for letter in "xy")
                how: dict[str, Any] = {"levels": levels, "cmap": colours, "over": [points_of(file) for file in mine]}
                contours(map_axes, x, y, measured[j], norm, done=surfaces[j].known, **how)
            else:
                _bare(map_axes, mine)
            room = map_axes.bbox.width / figure.dpi
            map_axes.set(xlabel=axis_label("α", mine[0], room), ylabel=axis_label("β", mine[0], room))
            map_axes.set_anchor("N")
            if len(paths) == 1:
                map_axes.set_title(names[0], wrap=True)
            shows += [
                _growing(map_axes, mine, numbers, inks),
                _curves(loss, off, mine, times, numbers, inks, moments),
                _telling(figure, spot, texts[j], numbers, inks),
            ]
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, line / figure.get_figheight())}
        figure.legend(handles=keys, ncols=beside, fontsize=NOTE, columnspacing=1.2, borderpad=0.1, **place)
        if surfaces:
            label = loss_label(surfaces, ", log scale" if isinstance(norm, LogNorm) else "")
            bar = panel(figure, LEFT, 0.38 + above, width - 2 * LEFT, 0.09)
            colour_bar(figure, norm, colours, levels, beyond, label, cax=bar, orientation="horizontal")
        legend(figure, "lower center", notes)

    def show(i: int) -> None:
        clock.set_text(f"{moments.name} {moments.times[i]:g}")
        with matplotlib.rc_context(STYLE):
            for each in shows:
                each(i)

    show(len(moments.times) - 1)
    return Film(figure, len(moments.times), show)


def _sheet(width: float, foot: float, planes: int, lines: int) -> tuple[Figure, list[tuple]]:
    """A figure, and of each plane the axes of its map, losses and what is off it; where text is, and the clock.

    The curves of one plane stand beside its map, those of several below.
    """
    text = TEXT * lines + 0.06
    if planes == 1:
        side = 0.64 * (width - LEFT - GAP - RIGHT)
        column, across = LEFT + side + GAP, width - LEFT - side - GAP - RIGHT
        body = max(side, 0.3 + text + TALL + BETWEEN + LOW)
        figure, low = Figure((width, foot + body + HEAD)), foot
        tall = (body - 0.3 - text - BETWEEN) * TALL / (TALL + LOW)
        deep = tall * LOW / TALL
        top = low + body
        axes = [panel(figure, LEFT, top - side, side, side), panel(figure, column, low + deep + BETWEEN, across, tall)]
        axes.append(panel(figure, column, low, across, deep))
        left, up = (column - 0.42) / width, figure.get_figheight()
        return figure, [(*axes, (left, (top - 0.24) / up), (left, top / up))]
    gap = LEFT + 0.1
    side = (width - LEFT - RIGHT - gap * (planes - 1)) / planes
    low = foot + LOW + BETWEEN + TALL + UNDER
    up = low + side + text + 0.42
    figure, places = Figure((width, up)), []
    for i in range(planes):
        left = LEFT + i * (side + gap)
        rows = [(low, side), (foot + LOW + BETWEEN, TALL), (foot, LOW)]
        axes = [panel(figure, left, bottom, side, tall) for bottom, tall in rows]
        places.append((*axes, (left / width, (up - 0.36) / up), (0.5, 1 - 0.08 / up)))
    return figure, places


def _keys(paths: Sequence[Results], alone: bool) -> list[Line2D]:
    """What the marks mean."""
    ink = {} if alone else {"color": "0.4"}
    keys = [
        Line2D([], [], label="start", **MARKER | ink, **START),
        Line2D([], [], label="now", **MARKER | ink, **END),
        Line2D([], [], label="θ*, the network at the centre", **CENTRE),
    ]
    if alone:
        keys.append(Line2D([], [], label="loss at the checkpoint", **TRUE | PLAIN))
        keys.append(Line2D([], [], label="in the plane", **FLAT | PLAIN))
    if any("test_loss" in file.variables for file in paths):
        keys.append(Line2D([], [], label="test loss", color=COLORS[0] if alone else "0.4", **TEST))
    return keys


def _bare(axes: Axes, paths: Sequence[Results]) -> None:
    """Square axes that hold all of some paths, where no surface is measured."""
    points = np.concatenate([points_of(file) for file in paths])
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.6 * ((high - low).max() or 1.0)
    (left, right), (bottom, top) = np.column_stack([(low + high) / 2 - half, (low + high) / 2 + half])
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.plot(0, 0, **CENTRE)


def _growing(axes: Axes, paths: Sequence[Results], numbers: Sequence[np.ndarray], inks: Sequence[str]) -> Show:
    """Frame i has the first checkpoints of each path, the star at the last of them."""
    below = len(axes.lines)

    def show(i: int) -> None:
        for line in list(axes.lines)[below:]:
            line.remove()
        for file, number, ink in zip(paths, numbers, inks, strict=True):
            path(axes, file["alpha"][: number[i]], file["beta"][: number[i]], color=ink)

    return show


def _curves(
    loss: Axes,
    off: Axes,
    paths: Sequence[Results],
    along: Sequence[np.ndarray],
    numbers: Sequence[np.ndarray],
    inks: Sequence[str],
    moments: Moments,
) -> Show:
    """Losses and what is off the plane, up to now, on axes that have room for all of them."""
    lines: list[tuple[Line2D, np.ndarray, np.ndarray, np.ndarray]] = []
    losses = []
    for file, x, number, ink in zip(paths, along, numbers, inks, strict=True):
        alone = len(paths) == 1
        looks: dict[str, dict[str, Any]] = {"plane_loss": FLAT} if alone else {}
        looks |= {"test_loss": TEST | {"color": COLORS[0] if alone else ink}}
        looks |= {"loss": (TRUE | {"markersize": 3}) if alone else {"color": ink}}
        for name, look in looks.items():
            if name in file.variables:
                y = known(file, name)[: len(x)]
                losses.append(y)
                lines.append((loss.plot(x, y, **look | HEADED)[0], x, y, number))
        y = off_plane(file)[: len(x)]
        lines.append((off.plot(x, y, color=ink if not alone else "0.35", **HEADED)[0], x, y, number))
    if spans_decades(np.concatenate(losses)):
        loss.set_yscale("log")
    for axes in (loss, off):
        axes.margins(x=0.03)
        axes.set_xlim(axes.get_xlim())
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    loss.set_ylim(loss.get_ylim())
    loss.set(ylabel=f"{split_of(paths)}loss")
    loss.tick_params(labelbottom=False)
    off.set(xlabel=moments.name, ylim=(0, 1.08), yticks=[0, 0.5, 1])
    off.set_ylabel("off plane\n/ ‖θ − θ*‖", fontsize=NOTE)

    def show(i: int) -> None:
        for line, x, y, number in lines:
            line.set_data(x[: number[i]], y[: number[i]])

    return show


def _lines(file: Results, name: str | None) -> list[list[str]]:
    """What is told of a path, line by line: of each a text for every checkpoint."""
    number = len(file["alpha"])
    lines = [] if name is None else [[name] * number]
    test = "test_loss" in file.variables
    for variable, label in {"loss": f"{split_of([file])}loss", "test_loss": "test loss"}.items():
        if variable == "loss" or test:
            lines.append([f"{label} {_said(value)}" for value in known(file, variable)])
    lines.append(
        [f"{part:.2f} ‖θ − θ*‖ off the plane" if part == part else "θ = θ*, in the plane" for part in off_plane(file)]
    )
    return lines


def _telling(
    figure: Figure,
    spot: tuple[float, float],
    of_paths: Sequence[Sequence[Sequence[str]]],
    numbers: Sequence[np.ndarray],
    inks: Sequence[str],
) -> Show:
    """What is told of each path, at its last checkpoint so far."""
    left, top = spot
    texts: list[tuple[Text, Sequence[str], np.ndarray]] = []
    for lines, number, ink in zip(of_paths, numbers, inks, strict=True):
        for line in lines:
            y = top - (len(texts) + 0.75) * TEXT / figure.get_figheight()
            colour = ink if len(of_paths) > 1 else "black"
            texts.append((figure.text(left, y, "", fontsize=7, va="baseline", color=colour), line, number))

    def show(i: int) -> None:
        for text, line, number in texts:
            text.set_text(line[number[i] - 1])

    return show


def known(file: Results, name: str) -> np.ndarray:
    """A loss at each checkpoint.

    Parameters
    ----------
    file : Results
        Of kind "trajectory".
    name : str
        Of the loss: loss, test_loss, plane_loss, …

    Returns
    -------
    ndarray, shape (checkpoints,)
        NaN where it is not measured, or not finite.
    """
    return np.where(file["done"] & np.isfinite(file[name]), file[name], np.nan)


def _said(value: float) -> str:
    return label_of(value) if np.isfinite(value) else "not finite, or not measured"
