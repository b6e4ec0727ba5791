"""Maps of the Hessian's extreme eigenvalues over a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize, SymLogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from landscape.analysis.geometry import convex
from landscape.analysis.hessian_files import ratio
from landscape.drawing.maps import head_of, name_axes, sheet
from landscape.drawing.scale import DECADES, label_of, limits_of, linear_within, rounded, signed_ticks
from landscape.drawing.spectrum import WEIGHT, note_of
from landscape.drawing.style import NOTE, STYLE, Figure, abreast, check_width
from landscape.drawing.surface import MISSING
from landscape.drawing.words import titles_of, unit_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["contradicted", "curvature", "map_of", "signed_norm"]

LITTLE = 0.01  # a ratio as small as this is convex but for little; two decades of ratios have a colour
DOT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "white", "markeredgecolor": "black"}


def curvature(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw |λ_min/λ_max| above and λ_min, with its sign, below; networks side by side on one scale.

    Dots mark the points where the slice is convex although the Hessian is not.

    Parameters
    ----------
    files : of kind "curvature", over (y, x)
    titles : one a file; by default the networks' names
    width : of the figure, in inches
    """
    for file in files:
        if file.dims["lambda_min"] != ("y", "x") or min(file["lambda_min"].shape) < 2:
            raise BadInput(f"{file.source} is not over a plane; maps need 2 points or more each way, x and y")
    check_width(width, 0.8 * len(files) + 1)
    least = [np.where(file.known, file["lambda_min"], np.nan) for file in files]
    ratios = [ratio(low, file["lambda_max"]) for low, file in zip(least, files, strict=True)]
    signed = signed_norm(least)
    alone = len(files) == 1  # its two maps stand beside each other
    tall = np.clip(max(np.ptp(f.coordinates["y"]) / np.ptp(f.coordinates["x"]) for f in files), 0.3, 1.5)
    with matplotlib.rc_context(STYLE):
        note, key = _note(files, signed, width), _key(files)
        ncols = abreast([str(entry.get_label()) for entry in key], width, 3)
        foot = 0.09 + 0.11 * (1 + note.count("\n")) + 0.14 * -(-len(key) // ncols)
        names, head = head_of(titles_of(files, titles), width, max(2, len(files)))
        shape = (1, 2) if alone else (2, len(files))
        figure, panels, bars = sheet(width, *shape, shape=tall, head=head, foot=foot, below=alone)
        panels = panels.reshape(2, -1)
        kinds: tuple[tuple[list[np.ndarray], Normalize, Colormap | str, str], ...] = (
            (ratios, LogNorm(LITTLE, 1), "viridis", r"$|\lambda_{\min}/\lambda_{\max}|$, log scale"),
            (least, signed, _colours(signed), r"$\lambda_{\min}$, linear near 0"),
        )
        for row, bar_axes, (maps, norm, cmap, label) in zip(panels, bars, kinds, strict=True):
            for axes, file, values in zip(row, files, maps, strict=True):
                x, y = file.coordinates["x"], file.coordinates["y"]
                drawn = map_of(axes, x, y, values, norm, cmap, done=file.known)
                if maps is ratios:
                    cell = 72 * axes.get_window_extent().width / figure.dpi / len(x)  # points
                    how = {"markersize": np.clip(0.3 * cell, 0.8, 3), "markeredgewidth": np.clip(0.04 * cell, 0.1, 0.5)}
                    rows, columns = np.nonzero(contradicted(file))
                    axes.plot(x[columns], y[rows], **DOT | how)
            where: dict[str, Any] = {"orientation": "horizontal"} if alone else {}
            bar = figure.colorbar(drawn, cax=bar_axes, label=label, extend=_beyond(maps, norm), **where)
            room = bar_axes.get_window_extent().width / figure.dpi if alone else np.inf
            ticks = [0.01, 0.1, 1] if maps is ratios else _ticks(signed, 5 if room < 2 else 12)
            bar.set_ticks(ticks, labels=[label_of(tick) for tick in ticks])
            bar.minorticks_off()
            bar.outline.set_linewidth(0.5)
        for axes, name in zip(panels[0], names, strict=True):
            axes.set_title(name)
        name_axes(panels, files, alone)
        how = {"title": note, "title_fontsize": NOTE, "fontsize": NOTE, "borderpad": 0.1, "borderaxespad": 0.3}
        figure.legend(handles=key, loc="lower center", ncols=ncols, **how)
    return figure


def map_of(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    norm: Normalize,
    cmap: Colormap | str,
    *,
    done: bool | np.ndarray = True,
) -> QuadMesh:
    """Draw values, shape (ny, nx), as pixels. Returns the mesh, for a colour bar.

    What is not finite is dark, and what is not `done`, of the same shape, a pattern.
    """
    axes.patch.set(**MISSING["not measured yet"], linewidth=0)
    lost = np.ma.masked_where(np.isfinite(values) | ~np.asarray(done), np.zeros(values.shape))
    axes.pcolormesh(x, y, lost, cmap="gray", norm=Normalize(-0.45, 0.55), shading="nearest", rasterized=True)
    mesh = axes.pcolormesh(x, y, np.ma.masked_invalid(values), norm=norm, cmap=cmap, shading="nearest", rasterized=True)
    axes.plot(0, 0, "+", color="white", markersize=9, markeredgewidth=1.6)  # its arms are longer than a dot over it
    axes.plot(0, 0, "+", color="black", markersize=8, markeredgewidth=0.7)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter("{x:.4g}")
    return mesh


def contradicted(file: Results) -> np.ndarray:
    """Where the slice is convex, but λ_min < −λ_max/100: bool ndarray, shape (ny, nx), False on the rim."""
    loss = np.where(file.known, file["loss"], np.nan)
    seen = np.pad(convex(loss, file.coordinates["x"], file.coordinates["y"]).filled(False), 1)
    return seen & (file["lambda_min"] < -LITTLE * np.abs(file["lambda_max"]))


def signed_norm(maps: Sequence[np.ndarray], linear: float | None = None) -> SymLogNorm:
    """A scale for values on both sides of 0, or on one side: linear near 0 and logarithmic beyond.

    Parameters
    ----------
    maps : what is not finite is passed over
    linear : up to which size it is linear; by default, about as many as a twentieth of the values have

    Returns
    -------
    SymLogNorm
        Its ends are 1, 2 or 5 times a power of ten, so that they have short labels.
    """
    values = np.concatenate([values[np.isfinite(values) & (values != 0)] for values in maps])
    size = np.abs(values)
    most = rounded(float(size.max())) if size.size else 1.0
    if linear is None:
        small = float(np.quantile(size, 0.05)) if size.size else 0.0
        linear = rounded(float(np.clip(small, most / 10**DECADES, most / 10)))
    one, other = bool((values < 0).any()), bool((values > 0).any())
    low, high = -most if one or not other else 0.0, most if other or not one else 0.0
    return SymLogNorm(min(linear, most), linscale=0.5, base=10, vmin=low, vmax=high)


def _colours(norm: Normalize) -> Colormap:
    """Red below 0 and blue above it, white at 0, also where a scale ends there."""
    low, high = (0.5 * (1 + np.sign(end)) for end in limits_of(norm))
    return ListedColormap(matplotlib.colormaps["RdBu"](np.linspace(low, high, 256)))


def _beyond(maps: Sequence[np.ndarray], norm: Normalize) -> str:
    values = np.concatenate([values[np.isfinite(values)] for values in maps])
    below, above = bool((values < norm.vmin).any()), bool((values > norm.vmax).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]


def _ticks(norm: SymLogNorm, number: int) -> list[float]:
    return signed_ticks(*limits_of(norm), norm.linthresh, number)


def _key(files: Sequence[Results]) -> list[Artist]:
    """What needs a word, where it is there."""
    key: list[Artist] = []
    if any(contradicted(file).any() for file in files):
        text = r"slice convex, although $\lambda_{\min} < -\lambda_{\max}/100$"
        key.append(Line2D([], [], markersize=3, markeredgewidth=0.5, label=text, **DOT))
    if any((file["done"] & ~np.isfinite(file["lambda_min"])).any() for file in files):
        key.append(Patch(label="not finite", facecolor=MISSING["not finite"]["facecolor"]))
    if not all(file["done"].all() for file in files):
        key.append(Patch(label="not measured yet", linewidth=0.4, **MISSING["not measured yet"]))
    return key


def _note(files: Sequence[Results], norm: SymLogNorm, width: float) -> str:
    lost = sum(int((file["done"] & ~file["converged"] & np.isfinite(file["lambda_min"])).sum()) for file in files)
    scale = f"The scale of the smallest eigenvalue, in {unit_of(files)} {WEIGHT}, is {linear_within(norm.linthresh)}."
    return note_of(files, width, scale, f"At {lost} points it has not converged." if lost else "")
