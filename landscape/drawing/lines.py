"""Losses along one direction, with their bands and errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from landscape.analysis.geometry import barrier_between, between
from landscape.analysis.labels import network_label
from landscape.drawing.layout import LINE, legend, panel
from landscape.drawing.scale import common_norm, extension, is_decade, labels_of, levels_of, limits_of, rounded
from landscape.drawing.style import DASHES, LEGEND, STYLE, Figure, check_width, looks_of, width_of
from landscape.drawing.surface import profile
from landscape.drawing.views import averaged, measured, shown
from landscape.drawing.words import axis_label, clipped, interpolated, loss_label, split_of, titles_of
from landscape.engine.table import Results

__all__ = ["curves", "line_label", "profiles"]

ERROR: dict[str, Any] = {"dashes": DASHES, "linewidth": 0.8}
DOTS = (1, 2)
LOST: dict[str, Any] = {"linestyle": "none", "marker": "x", "markersize": 3}


def profiles(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    variable: str = "loss",
) -> Figure:
    """Draw losses along one direction, and on a second axis the error.

    Parameters
    ----------
    files : surfaces over (x,), or (repeat, x): then the mean over repeats with a band of one standard deviation
    titles, width, vmin, vmax, linear, variable : as for `landscape.drawing.page.planes`

    Returns
    -------
    Figure
    """
    repeated = [len(file.coordinates.get("repeat", ())) for file in files]
    files = [
        averaged(shown(file, variable)) if n else shown(file, variable) for file, n in zip(files, repeated, strict=True)
    ]
    norm = _with_bands(files, vmin, vmax, linear)
    with matplotlib.rc_context(STYLE):
        figure = Figure((check_width(width), 2.7))
        axes = panel(figure, 0.6, 0.6, width - 1.1, 1.8)
        right = axes.twinx()
        names = _of_lines(files, titles)
        _curves(axes, files, names, norm)
        for file, name in zip(files, names, strict=True):
            color = looks_of(names)[name]["color"]
            right.plot(file.coordinates["x"], 100 * (1 - file.accuracy()), color=color, **ERROR)
        several = sorted({n for n in repeated if n})
        of = " of its logarithm" * isinstance(norm, LogNorm)
        band = f"{several[0]} directions: mean ± standard deviation{of}" if several else "± standard error"
        keys: dict[str, dict[str, Any]] = {f"loss, {band}": {}}
        if any(np.isfinite(file.accuracy()).any() for file in files):
            right.set(ylabel=f"{split_of(files)}error (%)", ylim=(0, 100))
            keys = {f"loss (left), {band}": {}, "error (right)": ERROR}
        else:  # targets that are not classes have no accuracy
            right.set_axis_off()
        if any((file.known & ~np.isfinite(file["loss"])).any() for file in files):
            keys |= {"not finite": LOST}
        losses = [measured(file) for file in files]
        said = "losses go up to {}, the axis to {}", "losses go down to {}, the axis to {}"
        remarks = _unnamed(files, names) + clipped(losses, norm, extension(norm, losses), *said) + interpolated(files)
        keys |= {text: {"linestyle": "none"} for text in remarks}
        above = legend(figure, "upper center", axes.get_legend_handles_labels()[0])
        notes = [Line2D([], [], color="0.3", label=key, **how) for key, how in keys.items()]
        below = legend(figure, "lower center", notes)
        if above > 1 or below > 1:  # a narrow figure becomes higher
            low, height = 0.6 + LINE * (below - 1), 2.7 + LINE * (above + below - 2)
            figure.set_figheight(height)
            for each in (axes, right):
                each.set_position((0.6 / width, low / height, 1 - 1.1 / width, 1.8 / height))
    return figure


def curves(
    axes: Axes,
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    variable: str = "loss",
) -> Axes:
    """Draw losses along one direction onto axes, with their bands.

    Parameters
    ----------
    axes : Axes
    files, titles, vmin, vmax, linear, variable : as for `profiles`

    Returns
    -------
    Axes
        The ones given; the lines have labels, for ``axes.legend()``.
    """
    files = [
        averaged(shown(file, variable)) if "repeat" in file.coordinates else shown(file, variable) for file in files
    ]
    norm = _with_bands(files, vmin, vmax, linear)
    return _curves(axes, files, _of_lines(files, titles), norm)


def _of_lines(files: Sequence[Results], titles: Sequence[str] | None) -> list[str]:
    """Titles of lines; of those from one network to another, whose axis names it, only what tells them apart."""
    names = titles_of(files, titles)
    parts = [
        re.fullmatch(rf"{re.escape(network_label(f.network))} \((.+)\)", n) for f, n in zip(files, names, strict=True)
    ]
    if titles or not all(parts) or not _with_barriers(files):
        return names
    return [part[1] for part in parts if part]


def _with_barriers(files: Sequence[Results]) -> bool:
    """Whether lines lead from network to network, and what becomes of the barrier between them is the question."""
    attributes = [file.attributes for file in files]
    return all("to" in each for each in attributes) and any("align" in each for each in attributes)


def line_label(files: Sequence[Results]) -> str:
    """Name of the axis of lines, with the networks at its ends if they lead from one to another."""
    labels = {axis_label("α", file) for file in files}
    if all("to" in file.attributes for file in files):
        ends = {str(np.atleast_1d(file.attributes["to"])[0]) for file in files}
        networks = {network_label(file.network) for file in files}
        one = networks.pop() if len(networks) == 1 else "the network"
        return f"α (0: {one}, 1: {ends.pop() if len(ends) == 1 else 'another checkpoint of it'})"
    return labels.pop() if len(labels) == 1 else "α"


def _with_bands(files: Sequence[Results], vmin: float | None, vmax: float | None, linear: bool) -> Normalize:
    """The scale of losses along a line, with room for their bands: on a logarithmic one, for a decade of them."""
    losses = [measured(file) for file in files]
    norm = common_norm(losses, vmin, vmax, linear)
    low, high = limits_of(norm)
    log, beyond = isinstance(norm, LogNorm), extension(norm, losses)
    bands = np.concatenate([edge for file in files for edge in _band(file)])
    bands = bands[np.isfinite(bands) & (bands > 0 if log else True)]
    if vmax is None and beyond in ("neither", "min") and bands.max(initial=-np.inf) > high:
        high = min(rounded(bands.max()), 10 * high) if log else float(bands.max())
    if vmin is None and beyond in ("neither", "max") and bands.min(initial=np.inf) < low:
        low = max(rounded(bands.min(), down=True), low / 10) if log else float(bands.min())
    return LogNorm(low, high) if log else Normalize(low, high)


def _band(file: Results) -> tuple[np.ndarray, np.ndarray]:
    """The edges of the band around a line: one standard deviation over repeats, or one standard error, either way."""
    loss = measured(file)
    if "low" not in file:
        return loss - file["loss_se"], loss + file["loss_se"]
    low, high = (np.where(file["done"], file[end], np.nan) for end in ("low", "high"))
    return low, high


def _curves(axes: Axes, files: Sequence[Results], titles: Sequence[str], norm: Normalize) -> Axes:
    """Losses, bands and axis of `profiles`."""
    looks = looks_of(titles)
    for file, title in zip(files, titles, strict=True):
        x, loss, color = file.coordinates["x"], measured(file), looks[title]["color"]
        height = barrier_between(loss, file["loss_se"], x) if _with_barriers(files) else None
        label = title
        if height is not None and np.isfinite(height[0]):
            label = f"{title}: barrier {height[0]:.3g} ± {height[1]:.1g}"
            share, (first, last) = np.linspace(0, 1, 51), loss[between(x)][[0, -1]]
            over = (1 - share) * first + share * last  # not straight on a logarithmic scale
            axes.plot(share, over, color=color, linewidth=0.6, dashes=DOTS, zorder=1)
        profile(axes, x, loss, file["loss_se"], color=color, label=label, band=_band(file))
        axes.lines[-1].set(marker=looks[title]["marker"], markersize=3, markevery=max(1, len(x) // 12))
        # A cross on the upper rim is a loss that is not finite; a mere gap is not measured yet.
        lost = x[file.known & ~np.isfinite(loss)]
        rim: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(lost, np.ones(len(lost)), color=color, **LOST, **rim)
    ends = [end for file in files for end in file.coordinates["x"][[0, -1]]]
    axes.set(xlim=(min(ends), max(ends)), ylim=(norm.vmin, norm.vmax))
    axes.set(xlabel=line_label(files), ylabel=loss_label(files))
    if _with_barriers(files) and width_of(line_label(files), LEGEND) > axes.bbox.width / axes.figure.dpi + 0.8:
        axes.set_xlabel("α (0 and 1: both checkpoints)")
    axes.xaxis.set_major_formatter("{x:.4g}")
    for end in (0, 1) if all("to" in file.attributes for file in files) else (0,):  # the networks at both ends
        axes.axvline(end, color="0.8", linewidth=0.5, zorder=0)
    if isinstance(norm, LogNorm):
        levels = levels_of(norm)
        decades = [level for level in levels if is_decade(level)]
        ticks = decades if len(decades) > 2 else levels
        axes.set(yscale="log", ylim=(norm.vmin, norm.vmax))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks(ticks, labels=labels_of(ticks))
    return axes


def _unnamed(files: Sequence[Results], titles: Sequence[str]) -> list[str]:
    """Which network it is, for a note, where all lines are of one and no title, nor the axis, names it."""
    networks = {network_label(file.network) for file in files}
    (one, *others) = networks
    return [] if others or any(one in text for text in (*titles, line_label(files))) else [f"network: {one}"]
