"""Figures of a training's path: in its plane, and what the plane does not show of it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from landscape.drawing.layout import LINE, arranged, colour_bar, legend, panel
from landscape.drawing.scale import common_norm, extension
from landscape.drawing.style import COLORS, NOTE, STYLE, Figure, check_width, colormap
from landscape.drawing.surface import contours
from landscape.drawing.words import COMPONENTS, axis_label, loss_label, notes_of, split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["losses", "path", "plane_of", "points_of", "spans_decades", "surfaces_beneath", "trajectories", "variances"]

INK = COLORS[1]
START: dict[str, Any] = {"marker": "s", "markersize": 5}
END: dict[str, Any] = {"marker": "*", "markersize": 8}
MARKER: dict[str, Any] = {"color": INK, "markeredgecolor": "white", "markeredgewidth": 0.6, "linestyle": "none"}
WALK: dict[str, Any] = {"linestyle": "none", "marker": "_", "markersize": 7, "markeredgewidth": 1.4, "color": "black"}
TRUE: dict[str, Any] = {"color": COLORS[0], "marker": "o", "markersize": 2}
FLAT: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 1.5)), "marker": "o", "markersize": 2}
OFF: dict[str, Any] = {"color": "0.45", "linestyle": (0, (1, 1)), "linewidth": 1.2}
NOTES = (
    "α, β and the distance off the plane are Euclidean distances of weights",
    "random walk: steps as long as the path's, in orthogonal directions",
)
LEFT, GAP, RIGHT, HEAD, UNDER, BETWEEN = 0.5, 0.62, 0.48, 0.4, 0.42, 0.36  # inches around the panels


def trajectories(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    levels: Sequence[float] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
) -> Figure:
    """Draw paths, one below the other: each in its plane, its variance by component, and its losses.

    Parameters
    ----------
    files : of kind "trajectory", and the surfaces in their planes, if any, in any order
    titles : one a path; by default the names of the networks
    width : of the figure, in inches
    levels, vmin, vmax, linear, cmap : of the surfaces, as for `landscape.drawing.planes`

    Raises
    ------
    BadInput
        A surface in the plane of no path, or not from its end; surfaces for some of the paths only.
    """
    paths = [file for file in files if file.kind == "trajectory"]
    surfaces = surfaces_beneath(paths, [file for file in files if file.kind == "surface"])
    colours = colormap(cmap)
    width = check_width(width, 4.0)
    measured = [np.where(surface.known, surface["loss"], np.nan) for surface in surfaces]
    norm = common_norm(measured, vmin, vmax, linear)
    beyond = extension(norm, measured) if surfaces else "neither"
    notes = notes_of(surfaces, measured, norm, beyond) if surfaces else []
    said = NOTES if all(file.attributes.get("directions") == COMPONENTS for file in paths) else NOTES[1:]
    notes += [Line2D([], [], linestyle="none", label=text) for text in said]
    side = 0.6 * (width - LEFT - GAP - RIGHT)
    names = [
        fill(f"{name}: {100 * file.attributes['captured']:.3g} % of the path's variance in this plane", int(15 * side))
        for name, file in zip(titles_of(paths, titles), paths, strict=True)
    ]
    keys = [
        Line2D([], [], label="start", **MARKER, **START),
        Line2D([], [], label="end", **MARKER, **END),
        Line2D([], [], label="loss at the checkpoint", **TRUE),
        Line2D([], [], label="in the plane", **FLAT),
        Line2D([], [], label="distance off the plane", **OFF),
    ]
    beside, rows = arranged(keys, width, most=5)
    line = LINE * arranged(notes, width)[1] + 0.02
    above = line + LINE * (rows - 1)
    head = HEAD + LINE * max([0, *(name.count("\n") - 1 for name in names)])  # room for two lines is in HEAD
    row, foot = head + side + UNDER, (0.72 if surfaces else 0.26) + above
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, len(paths) * row + foot))
        for i, (file, name) in enumerate(zip(paths, names, strict=True)):
            low = foot + (len(paths) - 1 - i) * row + UNDER
            axes = panel(figure, LEFT, low, side, side)
            if surfaces:
                x, y = (surfaces[i].coordinates[letter] for letter in "xy")
                colors: dict[str, Any] = {"levels": levels, "cmap": colours}
                contours(axes, x, y, measured[i], norm, done=surfaces[i].known, over=[points_of(file)], **colors)
            path(axes, file["alpha"], file["beta"])
            axes.set(xlabel=axis_label("α", file, side), ylabel=axis_label("β", file, side))
            axes.set_title(name)
            column, across, tall = LEFT + side + GAP, width - LEFT - side - GAP - RIGHT, (side - BETWEEN) / 2
            top = panel(figure, column, low + tall + BETWEEN, across, tall)
            variances(top, file["explained"], file["explained_random_walk"])
            losses(panel(figure, column, low, across, tall), file)
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, line / figure.get_figheight())}
        figure.legend(handles=keys, ncols=beside, fontsize=NOTE, columnspacing=1.2, borderpad=0.1, **place)
        if surfaces:
            label = loss_label(surfaces, ", log scale" if isinstance(norm, LogNorm) else "")
            bar = panel(figure, LEFT, 0.56 + above, width - LEFT - RIGHT, 0.09)
            colour_bar(figure, norm, colours, levels, beyond, label, cax=bar, orientation="horizontal")
        legend(figure, "lower center", notes)
    return figure


def path(axes: Axes, alpha: np.ndarray, beta: np.ndarray, *, color: str = INK) -> Axes:
    """Draw a path over what is there: a point for each checkpoint, a square where it begins, a star where it ends."""
    outline = [withStroke(linewidth=2.2, foreground="white")]
    marker = MARKER | {"color": color}
    axes.plot(alpha, beta, color=color, linewidth=1.1, path_effects=outline, zorder=4)
    axes.plot(alpha[1:-1], beta[1:-1], marker="o", markersize=3.2, zorder=5, **marker)
    axes.plot(alpha[:1], beta[:1], zorder=6, **marker, **START)
    axes.plot(alpha[-1:], beta[-1:], zorder=6, **marker, **END)
    axes.set_aspect("equal", adjustable="datalim" if not axes.collections else "box")
    return axes


def points_of(file: Results) -> np.ndarray:
    """The checkpoints of a path in its plane, shape (checkpoints, 2)."""
    return np.column_stack([file["alpha"], file["beta"]])


def variances(axes: Axes, explained: np.ndarray, random_walk: np.ndarray) -> Axes:
    """Draw the parts of a path's variance by component as bars, and those of a random walk as dashes."""
    component = np.arange(1, len(explained) + 1)
    bars = axes.bar(component, 100 * explained, width=0.7, color=COLORS[0], label="path")
    (dashes,) = axes.plot(component, 100 * random_walk, label="random walk", **WALK)
    axes.set(xlabel="component", ylabel="variance (%)", ylim=(0, 100))
    axes.set_xticks([1, *range(2, len(explained) + 1, 2)])
    axes.legend(handles=[bars, dashes], loc="upper right", fontsize=NOTE, handlelength=1.2, borderaxespad=0.2)
    return axes


def losses(axes: Axes, file: Results) -> Axes:
    """Draw the loss at each checkpoint and at its nearest point in the plane, and how far apart these are."""
    along = file["epoch"] if "epoch" in file.variables else np.arange(len(file["alpha"]))
    true, flat = (np.where(file["done"] & np.isfinite(v), v, np.nan) for v in (file["loss"], file["plane_loss"]))
    right = axes.twinx()
    right.plot(along, file["off_plane"], **OFF)
    right.set(ylabel="off the plane")
    right.set_ylim(0, 1.08 * file["off_plane"].max() or 1.0)
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(along, true, **TRUE)
    axes.plot(along, flat, **FLAT)
    if spans_decades(np.concatenate([true, flat])):
        axes.set_yscale("log")
    axes.set(xlabel="epoch" if "epoch" in file.variables else "checkpoint", ylabel=f"{split_of([file])}loss")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    right.yaxis.set_major_locator(MaxNLocator(3))
    return axes


def spans_decades(losses: np.ndarray) -> bool:
    """Whether a logarithmic axis is the better one, of those that are finite."""
    finite = losses[np.isfinite(losses)]
    return bool(finite.size and finite.min() > 0 and finite.max() > 20 * finite.min())


def surfaces_beneath(paths: Sequence[Results], surfaces: Sequence[Results]) -> list[Results]:
    """The surface in the plane of each path; none for any if there are no surfaces."""
    shown_surfaces = []
    for file in paths if surfaces else []:
        mine = [s for s in surfaces if plane_of(s) == plane_of(file)]
        if not mine:
            others = ", ".join(s.source for s in surfaces)
            raise BadInput(
                f"{others}: no surface is in the plane of {file.source}, their checkpoint or direction_digest differ; "
                "measure it along the directions of that path"
            )
        shown_surfaces.append(mine[0])
    if unused := [s for s in surfaces if not any(s is f for f in shown_surfaces)]:
        raise BadInput(f"{unused[0].source} is not in the plane of a path, or one more in the same; leave it out")
    for surface, file in zip(shown_surfaces, paths, strict=False):
        if surface.dims["loss"] != ("y", "x") or min(surface["loss"].shape) < 2:
            raise BadInput(f"{surface.source} is not over a plane; contours need 2 points or more each way, x and y")
        if surface.attributes["loss"] != file.attributes["loss"]:
            losses = f"{surface.attributes['loss']} and {file.attributes['loss']}"
            raise BadInput(
                f"{surface.source} and {file.source} have losses of different kinds, {losses}; measure one of both"
            )
    return shown_surfaces


def plane_of(file: Results) -> tuple[str, ...]:
    """What tells the plane of a path or surface from others: the network at its centre, and its directions."""
    return tuple(str(file.attributes.get(name)) for name in ("checkpoint", "direction_digest"))
