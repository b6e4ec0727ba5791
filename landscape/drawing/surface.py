"""Surfaces on axes: contours over colour, reliefs, and profiles along one direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from mpl_toolkits.mplot3d.axes3d import Axes3D

from landscape.drawing.scale import heights, labels_of, levels_of
from landscape.drawing.style import NOTE

__all__ = ["MISSING", "contours", "profile", "relief"]

ZOOM = 0.673  # what fills square axes, for boxes of any shape
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
    mark: bool = True,
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
    mark : whether the network is at (0, 0), which is then marked

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
        _lines(axes, x, y, height, dict(zip(np.asarray(norm(shown)).tolist(), labels_of(shown), strict=True)))
    for name, cells in {"not finite": done & ~np.isfinite(loss), "not measured yet": ~done}.items():
        _mark(axes, x, y, cells, MISSING[name])
    if mark:
        axes.plot(0, 0, "+", color="white", markersize=6, markeredgewidth=1.6)
        axes.plot(0, 0, "+", color="black", markersize=5, markeredgewidth=0.7)
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
) -> Axes3D:
    """Draw a surface in light and shade; its height is the place on the scale.

    What is not finite or not measured is a hole.

    Parameters
    ----------
    axes : Axes3D
    x, y, loss, norm, done, cmap : as for `contours`, but the colour map is a Colormap
    view : elevation and azimuth of the eye, in degrees

    Returns
    -------
    Axes3D
        The ones given.
    """
    height = heights(norm, loss if done is None else np.where(done, loss, np.nan))
    corners = np.stack([*np.meshgrid(x, y), height], axis=-1)  # (ny, nx, 3)
    tiles = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], axis=2)
    tiles = tiles.reshape(-1, 4, 3)
    tiles = tiles[np.isfinite(tiles).all(axis=(1, 2))]
    span = np.array([np.ptp(x), np.ptp(y)])
    box = np.array([*span / span.max(), 0.55])  # the sides of what is seen
    seen = tiles / [*span, 1] * box
    normals = np.cross(seen[:, 2] - seen[:, 0], seen[:, 3] - seen[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = np.radians([view[1] - 60, 50])  # from the left of the eye and above
    sun = np.array([np.cos(light[0]) * np.cos(light[1]), np.sin(light[0]) * np.cos(light[1]), np.sin(light[1])])
    colors = cmap(tiles[:, :, 2].mean(axis=1))
    colors[:, :3] *= 0.45 + 0.55 * np.clip(normals @ sun, 0, 1)[:, None]
    axes.add_collection3d(
        Poly3DCollection(tiles, facecolors=colors, edgecolors=colors, linewidths=0.15, rasterized=True, zorder=1)
    )
    _floor(axes, x, y, view)
    axes.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), zlim=(0, 1))
    axes.set_box_aspect(box, zoom=ZOOM * np.linalg.norm(box))
    axes.view_init(*view)
    axes.set_axis_off()
    axes.patch.set_visible(False)
    return axes


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


def _lines(axes: Axes, x: np.ndarray, y: np.ndarray, height: np.ndarray, names: dict[float, str]) -> None:
    """Contour lines at heights, labelled with their losses where there is room."""
    inside = [h for h in names if np.nanmin(height) < h < np.nanmax(height)]
    if not inside:
        return
    lines = axes.contour(x, y, height, inside, colors="black", linewidths=0.4, alpha=0.8)
    spots = _spots(axes, lines.allsegs, np.array([x.min(), y.min()]), np.array([x.max(), y.max()]))
    for text in axes.clabel(lines, fmt=names, fontsize=NOTE, manual=spots, inline_spacing=2):
        text.set_color("black")
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.65, "pad": 0.4})


def _spots(axes: Axes, segments: Any, low: np.ndarray, high: np.ndarray) -> list[tuple[float, float]]:
    """One spot a level for its label: as far as can be from the rim, the centre and the other labels."""
    size = np.array([axes.bbox.width, axes.bbox.height]) / axes.figure.dpi  # inches
    centre = size * (0 - low) / (high - low)
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
        others = np.linalg.norm(points[:, None] - np.reshape(taken, (-1, 2)), axis=2).min(axis=1, initial=np.inf)
        room = np.min([rim, mark, others], axis=0)
        if room.max() > ROOM:
            taken.append(points[room.argmax()])
            spots.append(tuple(low + taken[-1] / size * (high - low)))
    return spots


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
