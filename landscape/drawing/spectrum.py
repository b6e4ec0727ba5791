"""Figures of a Hessian's spectrum: its density, and its outermost eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from landscape.analysis.hessian_files import density_of
from landscape.drawing.page import split_of, titles_of, unit_of
from landscape.drawing.scale import label_of, levels_of
from landscape.drawing.style import COLORS, NOTE, STYLE, Figure, check_width, wrapped
from landscape.engine.table import Results
from landscape.errors import BadInput
from landscape.linalg.density import Density

__all__ = ["densities", "density_line", "eigenvalues"]

WEIGHT = "per squared unit of weight"
WIDTH = 0.15  # of the Gaussian, as a part of an eigenvalue
POINTS = 1000  # of a line
EXTREME: dict[str, Any] = {"linestyle": "none", "marker": "^", "markersize": 4, "markeredgewidth": 0, "clip_on": False}


def densities(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw spectral densities, with their standard errors, on one axis that is linear near 0 and logarithmic beyond.

    Parameters
    ----------
    files : of kind "density"
    titles : one a file; by default the networks' names
    width : of the figure, in inches
    """
    names = titles_of(files, titles)
    nodes = [density_of(file).nodes for file in files]
    least, most = min(n.min() for n in nodes), max(n.max() for n in nodes)
    # Nodes lie about so far apart around 0; what is finer than that, no quadrature knows.
    linear = max(abs(least), abs(most)) / (4 * min(n.shape[1] for n in nodes)) or 1.0
    ends = np.arcsinh(np.array([least, most]) / linear) + 4 * WIDTH * np.array([-1, 1])
    grid = linear * np.sinh(np.linspace(ends[0], ends[1], POINTS))
    curves = [density_of(file, grid, WIDTH, linear) for file in files]
    # The height of one eigenvalue where it is lowest: below, there is nothing to see.
    single = min(1 / (d.n * WIDTH * np.sqrt(2 * np.pi) * np.hypot(linear, d.nodes.max())) for d in curves)
    with matplotlib.rc_context(STYLE):
        narrow = check_width(width) < 4.5
        figure = Figure((width, 3.2 if narrow else 2.7), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("asinh", linear_width=linear)
        axes.set(yscale="log", xlim=grid[[0, -1]], ylim=(0.3 * single, 3 * max(d.values.max() for d in curves)))
        for density, name, color in zip(curves, names, COLORS * len(files), strict=False):
            ends = " to ".join(label_of(float(f"{end:.3g}")) for end in (density.nodes.min(), density.nodes.max()))
            density_line(axes, density, color=color, label=f"{name}: λ from {ends}")
        ticks = ticks_of(grid[0], grid[-1], linear)
        axes.set_xticks(ticks, [label_of(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.axvline(0, color="0.8", linewidth=0.5, zorder=0)
        axes.set(xlabel=f"eigenvalue λ ({unit_of(files)} {WEIGHT})", ylabel="density (share per unit of λ)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=1 if narrow else 2)
        keys = {
            "± standard error": {"linewidth": 5, "alpha": 0.25},
            "outermost λ seen": EXTREME,
            f"smoothed over {100 * WIDTH:.0f} % of λ, around 0 over {label_of(float(f'{WIDTH * linear:.2g}'))}": {
                "linestyle": "none"
            },
        }
        handles = [Line2D([], [], color="0.3", label=key, **how) for key, how in keys.items()]
        note = {"title": note_of(files, width), "title_fontsize": NOTE, "fontsize": NOTE}
        figure.legend(handles=handles, loc="outside lower center", ncols=1 if narrow else 3, **note)
    return figure


def density_line(axes: Axes, density: Density, *, color: str = "black", label: str | None = None) -> Axes:
    """Draw a density with a band of one standard error either way, and its outermost nodes below.

    Parameters
    ----------
    axes : Axes, whose limits are set
    density : Density
    color, label : of the line

    Returns
    -------
    Axes
        The ones given.
    """
    low, high = (density.values + sign * density.standard_error for sign in (-1, 1))
    axes.plot(density.grid, density.values, color=color, label=label)
    axes.fill_between(density.grid, np.maximum(low, axes.get_ylim()[0]), high, color=color, alpha=0.25, linewidth=0)
    extremes = [density.nodes.min(), density.nodes.max()]
    axes.plot(extremes, [0, 0], color=color, transform=axes.get_xaxis_transform(), **EXTREME)
    return axes


def eigenvalues(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw outermost eigenvalues by their number, the outermost first; bars are their residuals.

    Parameters
    ----------
    files : of kind "eigenvalues", all of one end of the spectrum
    titles : one a file; by default the networks' names
    width : of the figure, in inches
    """
    ends = {str(file.attributes["end"]): file.source for file in files}
    if len(ends) > 1:
        which = ", ".join(f"{path} has the {end}" for end, path in ends.items())
        raise BadInput(f"one figure shows one end of the spectrum, but {which}; draw them apart")
    names, (end,) = titles_of(files, titles), ends
    known = np.concatenate([file["eigenvalue"][np.isfinite(file["eigenvalue"])] for file in files])
    if not known.size:
        raise BadInput(f"{files[0].source} has no eigenvalue that has converged; there is nothing to draw")
    with matplotlib.rc_context(STYLE):
        figure = Figure((check_width(width), 2.5), layout="constrained")
        axes = figure.subplots()
        for file, name, color in zip(files, names, COLORS * len(files), strict=False):
            axes.errorbar(
                *(file.coordinates["eigenpair"], file["eigenvalue"], file["residual"]),
                color=color,
                label=name,
                marker="o",
                markersize=3,
                elinewidth=0.8,
            )
        size = np.abs(known)
        if size.min() > 0 and size.max() > 5 * size.min():  # a linear axis would hide the smaller ones
            if known.min() > 0:
                axes.set_yscale("log")
                axes.yaxis.set_minor_formatter(NullFormatter())
                levels = levels_of(LogNorm(*axes.get_ylim()))
                axes.set_yticks(levels, labels=[label_of(level) for level in levels])
            else:
                axes.set_yscale("symlog", linthresh=size.min())
        if known.min() < 0 < known.max():
            axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        what = {"magnitude": "largest magnitudes first"}.get(end, f"{end} first")
        axes.set(
            xlabel=f"number of the eigenvalue, {what}",
            ylabel=f"eigenvalue\n({unit_of(files)} {WEIGHT})",
        )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2 if width < 4.5 else 4)
        figure.supxlabel(note_of(files, width), fontsize=NOTE)
    return figure


def note_of(files: Sequence[Results], width: float, *sentences: str) -> str:
    """Which Hessian it is, and further sentences, in as many lines as a width in inches needs."""
    parameters = " or ".join(sorted({str(file.attributes["hessian_parameters"]) for file in files}))
    which = "all parameters" if parameters == "all" else f"the parameters {parameters}"
    first = f"The Hessian is that of the {split_of(files)}loss with respect to {which}."
    return wrapped(" ".join(filter(None, [first, *sentences])), width - 0.3)


def ticks_of(low: float, high: float, linear: float) -> list[float]:
    """Zero, and the decades on both sides of it where an asinh axis is logarithmic."""
    first, last = np.ceil(np.log10(linear)), np.floor(np.log10(max(abs(low), abs(high))))
    decades = 10 ** np.arange(first, last + 1)
    return [float(tick) for tick in (*-decades[::-1], 0.0, *decades) if low <= tick <= high]
