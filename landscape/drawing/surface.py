"""Surfaces on axes: contours over colour, reliefs, and profiles along one direction."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from mpl_toolkits.mplot3d.axes3d import Axes3D
from mpl_toolkits.mplot3d.proj3d import proj_transform

from landscape.drawing.scale import heights, labels_of, levels_of
from landscape.drawing.style import LEGEND, NOTE

__all__ = ["MISSING", "contours", "profile", "relief", "relief_extent"]

ZOOM = 0.673  # what fills square axes, for boxes of any shape
FINE = 90  # cells of a relief each way, or more
STEEP = 75  # degrees: from higher up an upright axis is a point
UPRIGHT = 5  # numbers on it
APART = 1.4  # of their height: how far apart these stand at least
ROOM = 0.27  # inches that a contour's label needs around its middle

# What has no colour on the scale, and how it looks instead.
MISSING: dict[str, Any] = {
    "not finite": {"facecolor": "0.45", "edgecolor": "white", "hatch": "xxxxxx"},
    "not measured yet": {"facecolor": "white", "edgecolor": "0.6", "hatch": "......"},
}


def contours(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    loss: np.ndarray,
    norm: Normalize,
    *,
    done: np.ndarray | None = None,
    levels: Sequence[float] | None = None,
    cmap: Colormap | str = "viridis",
    mark: tuple[float, float] | None = (0, 0),
    over: Sequence[np.ndarray] = (),
) -> Axes:
    """Draw lines of equal loss, with their values, over colour.

    Parameters
    ----------
    axes : Axes
    x, y : ndarray, shapes (nx,) and (ny,)
    loss : ndarray, shape (ny, nx)
    norm : the scale, as from `common_norm`
    done : ndarray of bool, shape (ny, nx), optional
        Where the loss has been measured; by default everywhere.
    levels : losses to draw a line at; by default `levels_of` the scale
    cmap : colour map
    mark : where the network is, which is then marked
    over : paths that will be drawn over it, shape (n, 2) each, in x and y, which labels keep clear of

    Returns
    -------
    Axes
        The ones given; its first collection is a QuadMesh of the losses.
    """
    done = np.ones(loss.shape, bool) if done is None else done
    height = heights(norm, np.where(done, loss, np.nan))
    shown = np.unique(levels_of(norm) if levels is None else levels)
    shown = shown[(shown >= norm.vmin) & (shown <= norm.vmax)]
    # Below zorder 0 lie pixels, above it lines: many cells would make a heavy PDF with seams.
    axes.set_rasterization_zorder(0)
    known = np.ma.masked_where(np.isnan(height), loss)
    axes.pcolormesh(x, y, known, norm=norm, cmap=cmap, shading="nearest", zorder=-3)
    if np.isfinite(height).any():
        # Cells are interpolated in height, so that lines lie where they lie on the scale.
        ramp = np.linspace(0, 1, 129)
        axes.contourf(x, y, height, ramp, cmap=cmap, vmin=0, vmax=1, extend="both", zorder=-2)
        _lines(
            axes, x, y, height, dict(zip(np.asarray(norm(shown)).tolist(), labels_of(shown), strict=True)), over, mark
        )
    for name, cells in {"not finite": done & ~np.isfinite(loss), "not measured yet": ~done}.items():
        _mark(axes, x, y, cells, MISSING[name])
    if mark:
        axes.plot(*mark, "+", color="white", markersize=6, markeredgewidth=1.6)
        axes.plot(*mark, "+", color="black", markersize=5, markeredgewidth=0.7)
    axes.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter("{x:.4g}")
    return axes


def relief(
    axes: Axes3D,
    x: np.ndarray,
    y: np.ndarray,
    loss: np.ndarray,
    norm: Normalize,
    *,
    done: np.ndarray | None = None,
    cmap: Colormap,
    view: tuple[float, float] = (35, -55),
    label: str | None = None,
) -> Axes3D:
    """Draw a surface in light and shade; its height is the place on the scale, which an upright axis tells.

    What is not finite or not measured is a hole.

    Parameters
    ----------
    axes : Axes3D
    x, y, loss, norm, done, cmap : as for `contours`, but the colour map is a Colormap
    view : elevation and azimuth of the eye, in degrees
    label : of the upright axis, beside its numbers; without one the axis has marks alone

    Returns
    -------
    Axes3D
        The ones given.
    """
    height = heights(norm, loss if done is None else np.where(done, loss, np.nan))
    box, span = _box(x, y), np.array([np.ptp(x), np.ptp(y), 1])
    seen = np.stack([*np.meshgrid(x, y), height], axis=-1) / span * box  # (ny, nx, 3)
    part = -(-FINE // max(loss.shape))
    # Light is interpolated between the corners of cells, so that it is as smooth as the surface; heights lie on lines.
    corners, normals = _finer(seen, part), _finer(_normals(seen), part)
    light = np.radians([view[1] - 60, 50])  # from the left of the eye and above
    sun = np.array([np.cos(light[0]) * np.cos(light[1]), np.sin(light[0]) * np.cos(light[1]), np.sin(light[1])])
    tiles, lit = (
        _tiles(corners),
        _tiles((normals @ sun / np.linalg.norm(normals, axis=-1))[..., None]).mean(axis=(1, 2)),
    )
    there = np.isfinite(tiles).all(axis=(1, 2))
    tiles, lit = tiles[there], lit[there]
    colors = cmap(tiles[:, :, 2].mean(axis=1) / box[2])
    colors[:, :3] *= 0.45 + 0.55 * np.clip(lit, 0, 1)[:, None]
    look: dict[str, Any] = {"facecolors": colors, "edgecolors": colors, "linewidths": 0.3, "rasterized": True}
    axes.add_collection3d(Poly3DCollection(tiles * span / box, zorder=1, **look))
    _floor(axes, x, y, view)
    axes.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), zlim=(0, 1))
    _look_at(axes, box, view)
    axes.set_axis_off()
    axes.patch.set_visible(False)
    _upright(axes, x, y, norm, view, label)
    return axes


def relief_extent(x: np.ndarray, y: np.ndarray, view: tuple[float, float]) -> tuple[float, float]:
    """How low and how high a relief reaches in its axes, from 0 to 1, whatever its losses."""
    axes = matplotlib.figure.Figure((1, 1)).add_axes((0, 0, 1, 1), projection="3d")
    assert isinstance(axes, Axes3D)
    _look_at(axes, _box(x, y), view)
    corners = np.array(list(itertools.product(axes.get_xlim(), axes.get_ylim(), axes.get_zlim())))
    places = axes.transData.transform(np.stack(proj_transform(*corners.T, axes.get_proj())[:2], axis=1))
    up = axes.transAxes.inverted().transform(places)[:, 1]
    return float(up.min()), float(up.max())


def profile(
    axes: Axes,
    x: np.ndarray,
    loss: np.ndarray,
    loss_se: np.ndarray,
    *,
    color: str = "black",
    label: str | None = None,
    band: tuple[np.ndarray, np.ndarray] | None = None,
) -> Axes:
    """Draw the loss along one direction, with a band of one standard error either way.

    Parameters
    ----------
    axes : Axes
    x, loss, loss_se : ndarray, shape (nx,)
    color, label : of the line
    band : lower and upper edge, shape (nx,) each, of another band

    Returns
    -------
    Axes
        The ones given. Where the loss is not finite the line has a gap.
    """
    loss = np.where(np.isfinite(loss), loss, np.nan)
    axes.plot(x, loss, color=color, label=label)
    low, high = (loss - loss_se, loss + loss_se) if band is None else band
    axes.fill_between(x, low, high, color=color, alpha=0.25, linewidth=0)
    return axes


def _lines(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    height: np.ndarray,
    names: dict[float, str],
    over: Sequence[np.ndarray],
    mark: tuple[float, float] | None,
) -> None:
    """Contour lines at heights, labelled with their losses where there is room."""
    inside = [h for h in names if np.nanmin(height) < h < np.nanmax(height)]
    if not inside:
        return
    lines = axes.contour(x, y, height, inside, colors="black", linewidths=0.4, alpha=0.8)
    spots = _spots(axes, lines.allsegs, np.array([x.min(), y.min()]), np.array([x.max(), y.max()]), over, mark)
    for text in axes.clabel(lines, fmt=names, fontsize=NOTE, manual=spots, inline_spacing=2):
        text.set_color("black")
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.65, "pad": 0.4})


def _spots(
    axes: Axes,
    segments: Any,
    low: np.ndarray,
    high: np.ndarray,
    over: Sequence[np.ndarray],
    at: tuple[float, float] | None,
) -> list[tuple[float, float]]:
    """One spot a level for its label: as far as can be from the rim, the network, paths and other labels."""
    size = np.array([axes.bbox.width, axes.bbox.height]) / axes.figure.dpi  # inches
    centre = size * (np.array((0, 0) if at is None else at) - low) / (high - low)
    # A path is as many points as make it a line to a label.
    paths = [_finer(size * (each[None] - low) / (high - low), FINE)[0] for each in over]
    way = np.concatenate([np.empty((0, 2)), *paths])
    taken: list[np.ndarray] = []
    spots = []
    for level in segments:
        inches = [size * (s - low) / (high - low) for s in level if len(s) > 1]
        long = [s for s in inches if np.linalg.norm(np.diff(s, axis=0), axis=1).sum() > 3 * ROOM]
        if not long:
            continue  # small islands are for the eye; a label would hide them
        points = np.concatenate(long)
        rim = 1.5 * np.minimum(points, size - points).min(axis=1)
        mark = 1.5 * np.linalg.norm(points - centre, axis=1)
        path = np.linalg.norm(points[:, None] - way, axis=2).min(axis=1, initial=np.inf)
        others = np.linalg.norm(points[:, None] - np.reshape(taken, (-1, 2)), axis=2).min(axis=1, initial=np.inf)
        room = np.min([rim, mark, path, others], axis=0)
        if room.max() > ROOM:
            taken.append(points[room.argmax()])
            spots.append(tuple(low + taken[-1] / size * (high - low)))
    return spots


def _box(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The sides of a relief as it is seen."""
    span = np.array([np.ptp(x), np.ptp(y)])
    return np.array([*span / span.max(), 0.55])


def _look_at(axes: Axes3D, box: np.ndarray, view: tuple[float, float]) -> None:
    axes.set_box_aspect(box, zoom=ZOOM * np.linalg.norm(box))
    axes.view_init(*view)


def _normals(points: np.ndarray) -> np.ndarray:
    """The mean normal of the cells around each point of a grid, shape (ny, nx, 3); NaN where no cell is."""
    across, back = points[1:, 1:] - points[:-1, :-1], points[1:, :-1] - points[:-1, 1:]
    cells = np.cross(across, back)
    around = np.full((4, *points.shape), np.nan)
    for each, (down, left) in zip(around, itertools.product((0, 1), repeat=2), strict=True):
        each[down : len(points) - 1 + down, left : points.shape[1] - 1 + left] = cells
    count = np.isfinite(around).all(axis=-1).sum(axis=0)[..., None]
    return np.where(count > 0, np.nansum(around, axis=0), np.nan)


def _finer(points: np.ndarray, part: int) -> np.ndarray:
    """A grid of points with so many cells in the place of each one, each way."""
    for axis in (0, 1):
        place = np.arange((points.shape[axis] - 1) * part + 1) / part
        low = np.minimum(place.astype(int), points.shape[axis] - 1)
        way = (place - low)[(slice(None), *[None] * (2 - axis))]
        one, other = (np.take(points, np.minimum(i, points.shape[axis] - 1), axis=axis) for i in (low, low + 1))
        points = np.where(way == 0, one, one + way * (other - one))  # NaN stays in the cells around it
    return points


def _tiles(points: np.ndarray) -> np.ndarray:
    """The corners of each cell of a grid, shape (cells, 4, …)."""
    tiles = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], axis=2)
    return tiles.reshape(-1, *tiles.shape[2:])


def _upright(
    axes: Axes3D, x: np.ndarray, y: np.ndarray, norm: Normalize, view: tuple[float, float], label: str | None
) -> None:
    """The scale at the edge of a relief that is farthest left to the eye; none from straight above."""
    if abs(view[0]) > STEEP:
        return
    right = np.array([-np.sin(np.radians(view[1])), np.cos(np.radians(view[1]))])
    corners = np.array(list(itertools.product((x.min(), x.max()), (y.min(), y.max()))))
    across, back = min(corners, key=lambda corner: corner / [np.ptp(x), np.ptp(y)] * _box(x, y)[:2] @ right)
    line: dict[str, Any] = {"color": "0.4", "linewidth": 0.5, "zorder": 2}
    axes.plot([across] * 2, [back] * 2, [0, 1], **line)
    levels = levels_of(norm)
    up = np.asarray(norm(levels))
    foot = (np.full(len(up), across), np.full(len(up), back))
    places = np.stack(proj_transform(*foot, up, axes.get_proj())[:2], axis=1)
    if len(levels) > 1:  # numbers stand apart
        gap = np.diff(axes.transData.transform(places)[:, 1]).min() * 72 / axes.figure.dpi
        step = max(-(-len(levels) // UPRIGHT), int(np.ceil(APART * NOTE / gap)))
        levels, places = levels[::step], places[::step]
    # Marker 0 is a tick to the left.
    marks = Line2D(*places.T, linestyle="none", marker=0, markersize=2.5, markeredgewidth=0.5, color="0.4")
    axes.add_artist(marks)
    if label:
        how: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False, "va": "center", "ha": "right"}
        for place, name in zip(places, labels_of(levels), strict=True):
            axes.annotate(name, place, (-5, 0), fontsize=NOTE, **how)
        middle = proj_transform(across, back, 0.5, axes.get_proj())[:2]
        axes.annotate(label, middle, (-28, 0), rotation=90, fontsize=LEGEND, **how)


def _floor(axes: Axes3D, x: np.ndarray, y: np.ndarray, view: tuple[float, float]) -> None:
    """The plane under a relief, with the names of its two edges before the eye."""
    axes.computed_zorder = False  # the floor is under the surface as a whole, which matplotlib does not see
    zorder = 0 if view[0] >= 0 else 2
    left, right, front, back = x.min(), x.max(), y.min(), y.max()
    corners = [(left, front, 0), (right, front, 0), (right, back, 0), (left, back, 0)]
    floor = Poly3DCollection([corners], facecolors="0.95", edgecolors="0.6", linewidths=0.4, zorder=zorder)
    axes.add_collection3d(floor)
    near_x, near_y = np.cos(np.radians(view[1])) > 0, np.sin(np.radians(view[1])) > 0
    centre = {"ha": "center", "va": "center", "zorder": zorder}
    axes.text(
        (left + right) / 2, (back if near_y else front) + (near_y - 0.5) * 0.24 * (back - front), 0, "α", **centre
    )
    axes.text(
        (right if near_x else left) + (near_x - 0.5) * 0.24 * (right - left), (front + back) / 2, 0, "β", **centre
    )


def _mark(axes: Axes, x: np.ndarray, y: np.ndarray, cells: np.ndarray, look: dict) -> None:
    """Cover cells with a pattern."""
    left, right = (e[np.nonzero(cells)[1]] for e in (_edges(x)[:-1], _edges(x)[1:]))
    bottom, top = (e[np.nonzero(cells)[0]] for e in (_edges(y)[:-1], _edges(y)[1:]))
    corners = np.stack([left, bottom, right, bottom, right, top, left, top], axis=1).reshape(-1, 4, 2)
    axes.add_collection(PolyCollection(list(corners), linewidths=0, zorder=1.5, **look), autolim=False)


def _edges(centers: np.ndarray) -> np.ndarray:
    """Edges of cells around their centres: halfway to the neighbours."""
    middle = (centers[:-1] + centers[1:]) / 2
    return np.concatenate([[2 * centers[0] - middle[0]], middle, [2 * centers[-1] - middle[-1]]])
