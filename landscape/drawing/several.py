"""Figures of more than one surface of a network: repeats over independent directions, slices of a space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from landscape.drawing.curvature import map_of
from landscape.drawing.layout import LINE, arranged, colour_bar
from landscape.drawing.maps import head_of, name_axes, sheet
from landscape.drawing.scale import common_norm, extension
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, colormap, wrapped
from landscape.drawing.surface import contours
from landscape.drawing.views import averaged, shown, slices
from landscape.drawing.words import axis_label, loss_label, notes_of, titles_of
from landscape.engine.table import Results

__all__ = ["repeats", "spaces"]

SPREAD = "magma"  # brighter is more, as it is for losses
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
    files = [shown(file, variable) for file in files]
    means = [averaged(file) for file in files]
    losses = [np.where(mean["done"], mean["loss"], np.nan) for mean in means]
    norm = common_norm(losses, vmin, vmax, linear)
    spreads = [np.where(mean["done"], mean["spread"], np.nan) for mean in means]
    finite = np.concatenate([s[np.isfinite(s)] for s in spreads])
    top = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    steps = MaxNLocator(5).tick_values(0, top)  # the last is at the top or above
    shade = Normalize(0, steps[-1])
    check_width(width, 0.8 * len(files) + 1.5)
    beside = len(files) == 1 and width > 4.5  # its two maps
    log = isinstance(norm, LogNorm)
    geometric = all((file["loss"][file.known & np.isfinite(file["loss"])] > 0).all() for file in files)
    numbers = " or ".join(map(str, sorted({len(file.coordinates["repeat"]) for file in files})))
    first, second = ("Left", "right") if beside else ("Above", "below")
    sentences = (
        f"{first} is the {'geometric ' * geometric}mean of the {loss_label(files)} over "
        f"{numbers} independent pairs of directions, {second} the standard deviation"
        f"{' of its natural logarithm' * geometric}. In both, brighter is higher."
    )
    with matplotlib.rc_context(STYLE):
        note, beyond = wrapped(sentences, width - 0.3), extension(norm, losses)
        key = notes_of(means, losses, norm, beyond, "mean losses")
        ncols, lines = arranged(key, width)
        shape = (1, 2) if beside else (2, len(files))
        tall = np.clip(max(np.ptp(m.coordinates["y"]) / np.ptp(m.coordinates["x"]) for m in means), 0.3, 1.5)
        foot = 0.12 + 0.11 * (1 + note.count("\n")) + LINE * lines
        names, head = head_of(titles_of(files, titles), width, shape[1])
        figure, panels, bars = sheet(width, *shape, shape=tall, head=head, foot=foot, below=beside)
        panels = panels.reshape(2, -1)
        for i, (mean, loss, spread, title) in enumerate(zip(means, losses, spreads, names, strict=True)):
            x, y = mean.coordinates["x"], mean.coordinates["y"]
            contours(panels[0, i], x, y, loss, norm, done=mean["done"], levels=levels, cmap=colours).set_title(title)
            map_of(panels[1, i], x, y, spread, shade, SPREAD, done=mean["done"])
            panels[1, i].set(xlim=panels[0, i].get_xlim(), ylim=panels[0, i].get_ylim())
        few = panels[0, 0].get_window_extent().width < 1.6 * figure.dpi
        for axis in (axis for axes in panels.flat for axis in (axes.xaxis, axes.yaxis)):
            axis.set_major_locator(MaxNLocator(2 if few else 4, steps=[1, 2, 5, 10]))
        name_axes(panels, files, beside)
        where: dict[str, Any] = {"orientation": "horizontal" if beside else "vertical"}
        label = "mean loss" + (", log scale" if beside else ",\nlog scale") * log
        colour_bar(figure, norm, colours, levels, beyond, label, cax=bars[0], **where)
        bar = figure.colorbar(ScalarMappable(shade, SPREAD), cax=bars[1], ticks=steps, **where)
        bar.set_label("standard deviation" + (" of ln(loss)" if beside else "\nof ln(loss)") * geometric)
        bar.outline.set_linewidth(0.5)
        text: dict[str, Any] = {"title": note, "title_fontsize": NOTE, "fontsize": NOTE}
        figure.legend(handles=key, loc="lower center", ncols=ncols, borderpad=0.1, borderaxespad=0.3, **text)
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
    columns, names = max(map(len, rows)), titles_of(files, titles)
    side = (check_width(width, 0.8 * columns + 1.2) - 1.2) / columns
    with matplotlib.rc_context(STYLE):
        alone = len(files) == 1  # its name stands above
        figure = Figure((width, max(len(files) * (side + 0.3) + 0.35 + 0.2 * alone, 1.7)), layout="constrained")
        if alone:
            figure.suptitle(names[0], fontsize=STYLE["axes.titlesize"])
        panels = figure.subplots(len(files), columns, squeeze=False, sharex=True, sharey=True)
        for file, row, line, title in zip(files, rows, panels, names, strict=True):
            for axes in line[len(row) :]:
                axes.set_axis_off()
            for axes, (z, part) in zip(line, row, strict=False):
                x, y = part.coordinates["x"], part.coordinates["y"]
                loss = np.where(part.known, part["loss"], np.nan)
                contours(
                    axes,
                    x,
                    y,
                    loss,
                    norm,
                    done=part.known,
                    levels=levels,
                    cmap=colours,
                    mark=(0, 0) if z == 0 else None,
                )
                for axis in (axes.xaxis, axes.yaxis):
                    axis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
                axes.set_title(f"γ = {z:.4g}".replace("-", "−"))
            of_rows = axis_label("β", file, side)
            line[0].set_ylabel(f"{title}\n{of_rows}" if not alone else of_rows)
        for axes in panels[-1]:
            axes.set_xlabel(axis_label("α", files[0], side))
        scale = ", log scale" * isinstance(norm, LogNorm)
        label = loss_label([shown(file, variable) for file in files], scale).replace(" (", "\n(")
        colour_bar(figure, norm, colours, levels, extension(norm, losses), label, ax=list(panels.flat), **BESIDE)
    return figure
