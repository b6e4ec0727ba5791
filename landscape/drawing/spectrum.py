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
from landscape.drawing.scale import label_of, levels_of, linear_within, rounded, signed_ticks
from landscape.drawing.style import LEGEND, NOTE, STYLE, Figure, abreast, check_width, looks_of, wrapped
from landscape.drawing.words import split_of, titles_of, unit_of
from landscape.engine.table import Results
from landscape.errors import BadInput
from landscape.linalg.density import Density

__all__ = ["densities", "density_line", "eigenvalues", "hidden"]

WEIGHT = "per squared unit of weight"
WIDTH = 0.15  # of the Gaussian, as a part of an eigenvalue
POINTS = 1000  # of a line
MARK = 3  # points of an eigenvalue's mark
PARAMETERS = {"all": "all parameters", "of two dimensions or more": "the parameters that have two or more dimensions"}
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
    low, high = (np.sign(end) * rounded(abs(end)) if end else 0.0 for end in (min(least, 0), max(most, 0)))
    low, high = (low, high) if low < high else (-linear, linear)  # all eigenvalues are 0
    grid = linear * np.sinh(np.linspace(np.arcsinh(low / linear), np.arcsinh(high / linear), POINTS))
    curves = [
        density_of(file, np.union1d(grid, [n.min(), n.max()]), WIDTH, linear)
        for file, n in zip(files, nodes, strict=True)
    ]
    # The height of one eigenvalue where it is lowest: below, there is nothing to see.
    single = min(1 / (d.n * WIDTH * np.sqrt(2 * np.pi) * np.hypot(linear, d.nodes.max())) for d in curves)
    with matplotlib.rc_context(STYLE):
        narrow = check_width(width) < 4.5
        figure = Figure((width, 3.2 if narrow else 2.7), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("asinh", linear_width=linear)
        axes.set(yscale="log", xlim=(low, high), ylim=(0.3 * single, 3 * max(d.values.max() for d in curves)))
        for density, name in zip(curves, names, strict=True):
            ends = " to ".join(label_of(float(f"{end:.3g}")) for end in (density.nodes.min(), density.nodes.max()))
            density_line(axes, density, color=looks_of(names)[name]["color"], label=f"{name}: λ from {ends}")
        below = any(np.nanmin(line.get_ydata()) < axes.get_ylim()[0] for line in axes.lines[::2])  # without marks
        ticks = signed_ticks(low, high, linear)
        axes.set_xticks(ticks, [label_of(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.axvline(0, color="0.8", linewidth=0.5, zorder=0)
        axes.set(xlabel=f"eigenvalue λ ({unit_of(files)} {WEIGHT})", ylabel="density (share per unit of λ)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=1 if narrow else 2)
        keys = {"± standard error": {"linewidth": 5, "alpha": 0.25}, "outermost λ seen": EXTREME}
        handles = [Line2D([], [], color="0.3", label=key, **how) for key, how in keys.items()]
        sentences = (
            f"The axis of λ is linear within about ±{label_of(linear, 2)} and logarithmic beyond.",
            f"The density is smoothed with Gaussians, {100 * WIDTH:.0f} % of λ wide but at least "
            f"{label_of(WIDTH * linear, 2)}.",
            "Curves end at the outermost λ seen.",
            "Where a curve is below the axis, the density is less than that of a single eigenvalue." * below,
        )
        text = note_of(files, width, *sentences)
        figure.set_figheight(figure.get_figheight() + 0.11 * max(0, text.count("\n") - 2))
        note = {"title": text, "title_fontsize": NOTE, "fontsize": NOTE}
        figure.legend(handles=handles, loc="outside lower center", ncols=2, **note)
    return figure


def density_line(axes: Axes, density: Density, *, color: str = "black", label: str | None = None) -> Axes:
    """Draw a density between its outermost nodes, which are marked, with a band of one standard error either way.

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
    extremes = [density.nodes.min(), density.nodes.max()]
    slack = 1e-9 * np.ptp(extremes)  # of a grid that has the extremes
    # Beyond them, there is but the Gaussian's tail.
    seen = (density.grid >= extremes[0] - slack) & (density.grid <= extremes[1] + slack)
    grid, values, error = (each[seen] for each in (density.grid, density.values, density.standard_error))
    axes.plot(grid, values, color=color, label=label)
    low = np.maximum(values - error, axes.get_ylim()[0])
    axes.fill_between(grid, low, values + error, color=color, alpha=0.25, linewidth=0)
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
        for file, name in zip(files, names, strict=True):
            axes.errorbar(
                *(file.coordinates["eigenpair"], file["eigenvalue"], file["residual"]),
                color=looks_of(names)[name]["color"],
                label=name,
                marker=looks_of(names)[name]["marker"] or "o",
                markersize=MARK,
                elinewidth=0.8,
            )
        size, sentence = np.abs(known), ""
        if size.min() > 0 and size.max() > 5 * size.min():  # a linear axis would hide the smaller ones
            if known.min() > 0:
                axes.set_yscale("log")
                axes.yaxis.set_minor_formatter(NullFormatter())
                levels = levels_of(LogNorm(*axes.get_ylim()))
                axes.set_yticks(levels, labels=[label_of(level) for level in levels])
            else:
                linear = rounded(float(size.min()))
                low, high = (np.sign(end) * rounded(2 * abs(end)) for end in (min(known.min(), 0), max(known.max(), 0)))
                axes.set_yscale("symlog", linthresh=linear)
                axes.set_ylim(low, high)
                ticks = signed_ticks(low, high, linear)
                axes.set_yticks(ticks, labels=[label_of(tick) for tick in ticks])
                axes.yaxis.set_minor_locator(NullLocator())
                sentence = f"The axis is {linear_within(linear)}."
        if known.min() < 0 < known.max():
            axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        what = {"magnitude": "largest magnitudes first"}.get(end, f"{end} first")
        axes.set(
            xlabel=f"number of the eigenvalue, {what}",
            ylabel=f"eigenvalue\n({unit_of(files)} {WEIGHT})",
        )
        handles = [
            Line2D([], [], color=look["color"], marker=look["marker"] or "o", markersize=MARK, label=name)
            for name, look in looks_of(names).items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=abreast(names, width, size=LEGEND))
        figure.supxlabel(note_of(files, width, sentence, "Bars are residuals."), fontsize=NOTE)  # has its place
        error = np.concatenate([file["residual"][np.isfinite(file["eigenvalue"])] for file in files])
        if hidden(axes, known - error, known + error).all():
            most = max(np.nanmax(file["residual"] / np.abs(file["eigenvalue"])) for file in files)
            bars = f"The residuals, at most {100 * most:.2g} % of an eigenvalue, are smaller than the marks."
            figure.supxlabel(note_of(files, width, sentence, bars), fontsize=NOTE)
    return figure


def hidden(axes: Axes, low: np.ndarray, high: np.ndarray, size: float = MARK) -> np.ndarray:
    """Which intervals from `low` to `high`, along y, are shorter than a mark of so many points: bool ndarray."""
    figure = axes.get_figure(root=True)
    assert figure is not None  # axes of a drawing are in one
    figure.draw_without_rendering()  # the layout
    ends = [axes.transData.transform(np.column_stack([np.ones(len(end)), end]))[:, 1] for end in (low, high)]
    return np.abs(ends[1] - ends[0]) < size * figure.dpi / 72


def note_of(files: Sequence[Results], width: float, *sentences: str) -> str:
    """Which Hessian it is, and further sentences, in as many lines as a width in inches needs."""
    parameters = sorted({str(file.attributes["hessian_parameters"]) for file in files})
    which = " or ".join(PARAMETERS.get(each, f"the parameters {each}") for each in parameters)
    first = f"The Hessian of the {split_of(files)}loss is taken over {which}."
    return wrapped(" ".join(filter(None, [first, *sentences])), width - 0.3)
