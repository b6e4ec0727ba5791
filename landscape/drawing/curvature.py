"""Maps of the Hessian's extreme eigenvalues over a plane."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure

from landscape.drawing.page import split_of, titles_of
from landscape.drawing.style import NOTE, STYLE, check_width
from landscape.errors import BadInput
from landscape.table import Results

__all__ = ["curvature", "map_of", "ratio"]


def ratio(smallest: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """|λ_min/λ_max| (Li et al. 2018, 1712.09913 §6): near 0 where the loss is convex but for little."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(smallest / largest)


def curvature(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw |λ_min/λ_max| above and λ_min, with its sign, below; networks side by side on one scale.

    Parameters
    ----------
    files : of kind "curvature", over (y, x)
    titles : one a file; by default the networks' names
    width : of the figure, in inches
    """
    for file in files:
        if file["lambda_min"].ndim != 2 or min(file["lambda_min"].shape) < 2:
            raise BadInput(f"{file.path} is not over a plane; maps need 2 points or more each way, x and y")
    names = titles_of(files, titles)
    least = [np.where(file.known, file["lambda_min"], np.nan) for file in files]
    most = [np.where(file.known, file["lambda_max"], np.nan) for file in files]
    ratios = [ratio(*both) for both in zip(least, most, strict=True)]
    top = max((np.nanquantile(r[np.isfinite(r)], 0.98) for r in ratios if np.isfinite(r).any()), default=1.0)
    size = max((np.abs(v[np.isfinite(v)]).max() for v in least if np.isfinite(v).any()), default=1.0)
    top, size = max(top, 1e-12), max(size, 1e-12)  # a scale has some extent
    norms = [Normalize(0, top), SymLogNorm(size / 1e3, vmin=-size, vmax=size)]
    rows = [("|λmin / λmax|", ratios, norms[0], "viridis"), ("λmin", least, norms[1], "RdBu_r")]
    with matplotlib.rc_context(STYLE):
        side = (check_width(width) - 1.1) / max(2, len(files))
        alone = len(files) == 1  # its two maps stand beside each other
        figure = Figure((width, (side if alone else 2 * side) + 0.9), layout="constrained")
        shape = (1, 2) if alone else (2, len(files))
        panels = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True).reshape(2, -1)
        for (label, maps, norm, cmap), line in zip(rows, panels, strict=True):
            for axes, file, values in zip(line, files, maps, strict=True):
                drawn = map_of(axes, file.coordinates["x"], file.coordinates["y"], values, norm, cmap)
            extend = "max" if label.startswith("|") and any((r > norm.vmax).any() for r in maps) else "neither"
            figure.colorbar(drawn, ax=list(line), label=label, extend=extend, shrink=0.9, pad=0.02)
        for axes, name in zip(panels[0], names, strict=True):
            axes.set_title(name)
        for axes in panels.flat if alone else panels[1]:
            axes.set_xlabel("α")
        for axes in panels[:, 0]:
            axes.set_ylabel("β")
        lost = sum(int((file["done"] & ~file["converged"]).sum()) for file in files)
        note = f"Hessian of the {split_of(files)}loss, parameters: {files[0].attributes['hessian_parameters']}"
        figure.supxlabel(f"{note}; {lost} points not converged" if lost else note, fontsize=NOTE)
    return figure


def map_of(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, norm: Normalize, cmap: str):
    """Draw values, shape (ny, nx), as pixels; what is not known is grey. Returns the mesh, for a colour bar."""
    axes.set_facecolor("0.8")
    mesh = axes.pcolormesh(x, y, np.ma.masked_invalid(values), norm=norm, cmap=cmap, shading="nearest", rasterized=True)
    axes.plot(0, 0, "+", color="black", markersize=5, markeredgewidth=0.8)
    axes.set_aspect("equal")
    return mesh
