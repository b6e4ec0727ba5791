"""Maps of the Hessian's extreme eigenvalues over a plane."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from landscape.analysis.geometry import convex
from landscape.analysis.hessian_files import ratio
from landscape.drawing.page import titles_of, unit_of
from landscape.drawing.scale import label_of, limits_of
from landscape.drawing.spectrum import note_of
from landscape.drawing.style import NOTE, STYLE, Figure, check_width
from landscape.drawing.surface import MISSING
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
    least = [np.where(file.known, file["lambda_min"], np.nan) for file in files]
    ratios = [ratio(low, file["lambda_max"]) for low, file in zip(least, files, strict=True)]
    norms = LogNorm(LITTLE, 1), signed_norm(least)
    alone = len(files) == 1  # its two maps stand beside each other
    side = (check_width(width, 0.8 * len(files) + 1) - (0.7 if alone else 1.2)) / max(2, len(files))
    names = [fill(title, max(6, int(14 * side))) for title in titles_of(files, titles)]  # 14 letters an inch
    with matplotlib.rc_context(STYLE):
        tall = side * np.clip(max(np.ptp(f.coordinates["y"]) / np.ptp(f.coordinates["x"]) for f in files), 0.3, 1.5)
        head = 0.13 * (1 + max(name.count("\n") for name in names))
        what = rf"$\lambda_{{\min}}$ ({unit_of(files)} per squared unit of weight)"
        unit = fill(what, int(16 * (side if alone else tall)))  # along the bar
        foot = 0.8 + 0.1 * alone * unit.count("\n") if width > 4.5 else 1.1
        figure = Figure((width, (tall + 0.7 if alone else 2 * tall) + head + foot), layout="compressed")
        labels = r"$|\lambda_{\min}/\lambda_{\max}|$", unit
        shape = (1, 2) if alone else (2, len(files))
        panels = figure.subplots(*shape, squeeze=False).reshape(2, -1)
        for row, (maps, norm, cmap) in enumerate(zip((ratios, least), norms, ("viridis", "RdBu"), strict=True)):
            for axes, file, values in zip(panels[row], files, maps, strict=True):
                x, y = file.coordinates["x"], file.coordinates["y"]
                drawn = map_of(axes, x, y, values, norm, cmap, done=file.known)
                if row == 0:
                    cell = 72 * side / len(x)  # points
                    how = {"markersize": np.clip(0.3 * cell, 0.8, 3), "markeredgewidth": np.clip(0.04 * cell, 0.1, 0.5)}
                    rows, columns = np.nonzero(contradicted(file))
                    axes.plot(x[columns], y[rows], **DOT | how)
            where = {"location": "bottom", "pad": 0.03} if alone else {"pad": 0.02}
            bar = figure.colorbar(drawn, ax=list(panels[row]), label=labels[row], extend=_beyond(maps, norm), **where)
            ticks = [0.01, 0.1, 1] if row == 0 else _ticks(cast("SymLogNorm", norm))
            bar.set_ticks(ticks, labels=[("−" if tick < 0 else "") + label_of(abs(tick)) for tick in ticks])
            bar.minorticks_off()
            bar.outline.set_linewidth(0.5)
        for axes, name in zip(panels[0], names, strict=True):
            axes.set_title(name)
        for axes in panels.flat:
            axes.set(xlabel="α", ylabel="β")
            axes.label_outer()
        note = {"title": _note(files, width), "title_fontsize": NOTE, "fontsize": NOTE}
        figure.legend(handles=_key(files), loc="outside lower center", ncols=1 if width < 4.5 else 3, **note)
    return figure


def map_of(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    norm: Normalize,
    cmap: str,
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
    axes.plot(0, 0, "+", color="white", markersize=6, markeredgewidth=1.6)
    axes.plot(0, 0, "+", color="black", markersize=5, markeredgewidth=0.7)
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


def signed_norm(maps: Sequence[np.ndarray]) -> SymLogNorm:
    """A scale for values of both signs: linear for the smallest twentieth of them, logarithmic beyond."""
    size = np.abs(np.concatenate([values[np.isfinite(values) & (values != 0)] for values in maps]))
    most = size.max() if size.size else 1.0
    linear = np.clip(np.quantile(size, 0.05), most / 1e4, most / 10) if size.size else most / 10
    return SymLogNorm(linear, linscale=0.5, vmin=-most, vmax=most, base=10)


def _beyond(maps: Sequence[np.ndarray], norm: Normalize) -> str:
    values = np.concatenate([values[np.isfinite(values)] for values in maps])
    below, above = bool((values < norm.vmin).any()), bool((values > norm.vmax).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]


def _ticks(norm: SymLogNorm) -> list[float]:
    """Zero, and three decades or fewer on both sides of it."""
    decades = np.arange(np.ceil(np.log10(norm.linthresh)), np.floor(np.log10(limits_of(norm)[1])) + 1)
    ticks = 10.0 ** decades[:: -max(1, -(-len(decades) // 3))]
    return sorted({0.0, *ticks.tolist(), *(-ticks).tolist()})


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


def _note(files: Sequence[Results], width: float) -> str:
    lost = sum(int((file["done"] & ~file["converged"] & np.isfinite(file["lambda_min"])).sum()) for file in files)
    return note_of(files, width, f"; {lost} points not converged" if lost else "")
