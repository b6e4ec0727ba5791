"""Figures of more than one surface of a network: repeats over independent directions, slices of a space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from landscape.drawing.page import colour_bar, loss_label, titles_of
from landscape.drawing.scale import common_norm, extension
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, colormap
from landscape.drawing.surface import contours
from landscape.drawing.views import averaged, shown, slices
from landscape.engine.table import Results

__all__ = ["repeats", "spaces"]

BESIDE: dict[str, Any] = {"pad": 0.02, "shrink": 0.95}  # of a colour bar


def repeats(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    levels: Sequence[float] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
    variable: str = "loss",
) -> Figure:
    """Draw surfaces over (repeat, y, x): the mean over repeats above, below what they differ by.

    Parameters
    ----------
    files : surfaces of one kind
    titles, width, levels, vmin, vmax, linear, cmap, variable : as for `planes`

    Returns
    -------
    Figure
        See `landscape.drawing.views.averaged` for which mean it is.
    """
    colours = colormap(cmap)
    means = [averaged(shown(file, variable)) for file in files]
    losses = [np.where(mean["done"], mean["loss"], np.nan) for mean in means]
    norm = common_norm(losses, vmin, vmax, linear)
    spreads = [np.where(mean["done"], mean["spread"], np.nan) for mean in means]
    finite = np.concatenate([s[np.isfinite(s)] for s in spreads])
    top = float(finite.max()) if finite.size else 1.0
    side = (check_width(width, 0.8 * len(files) + 1.5) - 1.2) / max(2, len(files))
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, 2 * side + 0.9), layout="constrained")
        panels = figure.subplots(
            2, max(2, len(files)) if len(files) > 1 else 1, squeeze=False, sharex=True, sharey=True
        )
        for i, (mean, loss, spread, title) in enumerate(
            zip(means, losses, spreads, titles_of(files, titles), strict=True)
        ):
            x, y = mean.coordinates["x"], mean.coordinates["y"]
            contours(panels[0, i], x, y, loss, norm, done=mean["done"], levels=levels, cmap=colours).set_title(title)
            shade = Normalize(0, top)
            panels[1, i].set_facecolor("0.8")
            panels[1, i].pcolormesh(
                x, y, np.ma.masked_invalid(spread), norm=shade, cmap="magma_r", shading="nearest", rasterized=True
            )
            panels[1, i].set_aspect("equal")
            panels[1, i].set_xlabel("α")
        for axes in panels[:, 0]:
            axes.set_ylabel("β")
        log = isinstance(norm, LogNorm)
        label = f"{loss_label([shown(file, variable) for file in files])},\n{'geometric ' * log}mean over directions"
        colour_bar(figure, norm, colours, levels, extension(norm, losses), label, ax=list(panels[0]), **BESIDE)
        bar = figure.colorbar(ScalarMappable(shade, "magma_r"), ax=list(panels[1]), **BESIDE)
        bar.set_label(
            "standard deviation over\ndirections, of ln(loss)" if log else "standard deviation\nover directions"
        )
        numbers = sorted({len(file.coordinates["repeat"]) for file in files})
        note = f"{' or '.join(map(str, numbers))} independent pairs of directions"
        figure.supxlabel(note, fontsize=NOTE)
    return figure


def spaces(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    levels: Sequence[float] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
    variable: str = "loss",
) -> Figure:
    """Draw surfaces over (z, y, x) as rows of slices, one row a network, on one scale.

    Parameters
    ----------
    files : surfaces over (z, y, x)
    titles, width, levels, vmin, vmax, linear, cmap, variable : as for `planes`
    """
    colours = colormap(cmap)
    rows = [slices(shown(file, variable)) for file in files]
    losses = [np.where(part.known, part["loss"], np.nan) for row in rows for _, part in row]
    norm = common_norm(losses, vmin, vmax, linear)
    columns = max(map(len, rows))
    side = (check_width(width, 0.8 * columns + 1.2) - 1.2) / columns
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, max(len(files) * (side + 0.3) + 0.35, 1.7)), layout="constrained")
        panels = figure.subplots(len(files), columns, squeeze=False, sharex=True, sharey=True)
        for row, line, title in zip(rows, panels, titles_of(files, titles), strict=True):
            for axes in line[len(row) :]:
                axes.set_axis_off()
            for axes, (z, part) in zip(line, row, strict=False):
                x, y = part.coordinates["x"], part.coordinates["y"]
                loss = np.where(part.known, part["loss"], np.nan)
                contours(axes, x, y, loss, norm, done=part.known, levels=levels, cmap=colours, mark=z == 0)
                for axis in (axes.xaxis, axes.yaxis):
                    axis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
                axes.set_title(f"γ = {z:.4g}".replace("-", "−"))
            line[0].set_ylabel(f"{title}\nβ" if len(files) > 1 else "β")
        for axes in panels[-1]:
            axes.set_xlabel("α")
        label = loss_label([shown(file, variable) for file in files]).replace(" (", "\n(")
        colour_bar(figure, norm, colours, levels, extension(norm, losses), label, ax=list(panels.flat), **BESIDE)
    return figure
