"""Figures of the shape of a surface: its merge tree, and its persistence barcode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from landscape.analysis.merge_trees import Barcode, MergeTree
from landscape.analysis.numbers import noiseless
from landscape.analysis.topology import barcode, merge_tree
from landscape.drawing.layout import arranged
from landscape.drawing.scale import common_norm, labels_of, levels_of, limits_of
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, looks_of, wrapped
from landscape.drawing.views import only, shown
from landscape.drawing.words import loss_label, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["SHOWN", "bands", "branches", "shape", "topology"]

SHOWN = ("topology", "tree", "barcode")
HEIGHTS = {"tree": 1.6, "barcode": 1.0}  # inches of a panel
LEAST = 1.3  # inches across a panel
PANELS = 24  # of a figure
BARS = 20  # of a panel
ROOM = 0.12  # of a scale, above all that ends, for what never does
NOISE = "0.72"  # colour of what is within the noise
DOMAINS = {1: "line", 2: "plane", 3: "space"}
DOT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 3.2, "clip_on": False, "zorder": 3}
PASS: dict[str, Any] = {"linestyle": "none", "marker": "D", "markersize": 2.8, "markerfacecolor": "white", "zorder": 3}
ENDLESS: dict[str, Any] = {"linestyle": "none", "marker": ">", "markersize": 3, "clip_on": False}
ABOVE: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": NOTE}
EXPLAINED = {
    "tree": "A stem is a minimum above the noise, from its loss up to the saddle at which it joins a lower one. It is "
    "as wide as the part of the {domain} that leads down to it.",
    "barcode": "A bar goes from the loss at which a minimum or a loop begins to the one at which it ends, if it does.",
}


class Part(NamedTuple):
    """A surface of a figure: a file, or one repeat of it, with the file's title, and a name of its own."""

    file: Results
    title: str
    name: str


def topology(
    files: Sequence[Results],
    *,
    show: str = "topology",
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    variable: str = "loss",
) -> Figure:
    """Draw merge trees above persistence barcodes, surfaces side by side on one scale of losses.

    Parameters
    ----------
    files : surfaces; each of their repeats has a panel
    show : "tree" or "barcode" for one of the two
    titles, width, vmin, vmax, linear, variable : as for `landscape.drawing.page.planes`

    Returns
    -------
    Figure
        Of a tree, the minima above the noise, in such an order that no branches cross. Of a barcode, the most
        persistent bars: filled for minima, hollow for the loops around peaks of a plane, grey within the noise.
    """
    rows = _rows(show)
    files = [shown(file, variable) for file in files]
    titles = titles_of(files, titles)
    groups = [_parts(file, title) for file, title in zip(files, titles, strict=True)]
    if max(map(len, groups)) == 1:  # side by side; of repeats, each file begins a line
        groups = [[part for group in groups for part in group]]
    number = sum(map(len, groups))
    if number > PANELS:
        raise BadInput(f"a figure shows {PANELS} surfaces at most, with all repeats, got {number}; draw fewer")
    norm = _norm([part.file for group in groups for part in group], vmin, vmax, linear)
    looks = looks_of(titles)
    room = check_width(width, LEAST + 0.8) - 0.7
    columns = min(max(map(len, groups)), int(room / LEAST))
    cells = [group[i : i + columns] for group in groups for i in range(0, len(group), columns)]
    lines = len(cells)
    with matplotlib.rc_context(STYLE):
        names = [[wrapped(part.name, room / columns, STYLE["axes.titlesize"]) for part in line] for line in cells]
        under = 0.35 + 0.14 * max(name.count("\n") for line in names for name in line)
        figure = Figure((width, lines * sum(HEIGHTS[row] + under for row in rows) + 0.7), layout="constrained")
        how: dict[str, Any] = {"squeeze": False, "height_ratios": [HEIGHTS[row] for row in rows] * lines}
        panels = figure.subplots(lines * len(rows), columns, **how).reshape(lines, len(rows), columns)
        for line, parts, above in zip(panels, cells, names, strict=True):
            for axes in line[:, len(parts) :].flat:
                axes.set_axis_off()
            for column, (part, name) in enumerate(zip(parts, above, strict=True)):
                for row, axes in zip(rows, line[:, column], strict=True):
                    _panel(axes, row, part.file, norm, looks[part.title]["color"], room / columns)
                    if column:
                        axes.set_ylabel("")
                        axes.tick_params(labelleft=False)
                    if column and row == "tree":
                        axes.sharey(line[0, 0])
                line[0, column].set_title(name, pad=4 if rows[0] == "tree" else 14)
        handles = _key(figure, rows)
        beside, _ = arranged(handles, width, most=5)
        figure.legend(handles=handles, loc="outside upper center", ncols=beside, fontsize=NOTE, borderpad=0.1)
        figure.supxlabel(wrapped(_note(files, rows), width - 0.3), fontsize=NOTE)
    return figure


def shape(
    axes: Axes,
    files: Sequence[Results],
    *,
    show: str = "tree",
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    variable: str = "loss",
) -> Axes:
    """Draw the merge tree, or the barcode, of one surface without repeats onto axes.

    Parameters
    ----------
    axes : Axes
    files : one surface
    show : {"tree", "barcode"}
    vmin, vmax, linear, variable : as for `topology`

    Returns
    -------
    Axes
        The ones given.
    """
    (row,) = _rows("tree" if show == "topology" else show)
    file = shown(only(files), variable)
    norm = _norm([file], vmin, vmax, linear)
    box = axes.get_window_extent()
    return _panel(axes, row, file, norm, looks_of(titles_of([file]))[titles_of([file])[0]]["color"], box.width / 100)


def branches(axes: Axes, tree: MergeTree, norm: Normalize, color: str) -> Axes:
    """Draw a merge tree: its minima above the noise, and those that they join.

    Parameters
    ----------
    axes : Axes
    tree : MergeTree
    norm : the scale of the losses, upwards; what never ends goes up to its end
    color : of the stems

    Returns
    -------
    Axes
        The ones given; across, the part of the domain that leads to each minimum, in percent.
    """
    low, high = limits_of(norm)
    kept = tree.significant.copy()
    for start in np.flatnonzero(tree.significant).tolist():  # noise may differ from point to point
        i = start
        while (i := int(tree.parent[i])) >= 0:
            kept[i] = True
    order = _order(tree, np.flatnonzero(kept))
    share = 100 * np.where(tree.significant, tree.share, 0)[order]
    right = np.cumsum(share)
    place = dict(zip(order, right - share / 2, strict=True))
    for i, left, wide in zip(order, right - share, share, strict=True):
        bottom, top = np.clip([tree.birth[i], tree.death[i]], low, high)
        axes.fill_between([left, left + wide], bottom, top, color=color, alpha=0.18, linewidth=0)
        axes.plot([place[i]] * 2, [bottom, top], color=color, linewidth=1.2)
        axes.plot(place[i], bottom, color=color, **DOT)
        if tree.parent[i] >= 0:
            axes.plot([place[i], place[tree.parent[i]]], [top, top], color=color, linewidth=0.8)
            axes.plot(place[i], top, color=color, **PASS)
    axes.set(xlim=(0, 100), xlabel=f"share of the {DOMAINS.get(len(tree.axes), 'domain')} (%)")
    return axes


def bands(axes: Axes, bars: Barcode, norm: Normalize, color: str) -> Axes:
    """Draw a barcode: minima above loops, each from the most persistent down; at most `BARS` of them.

    Parameters
    ----------
    axes : Axes
    bars : Barcode
    norm : the scale of the losses, to the right
    color : of what is above the noise

    Returns
    -------
    Axes
        The ones given; a line above tells how many bars there are.
    """
    low, high = limits_of(norm)
    # What is above the noise comes before what is not, and the more persistent before the less.
    first = np.lexsort([-bars.persistence, ~bars.significant])[:BARS]
    rows = sorted(first.tolist(), key=lambda i: (bars.dimension[i], -bars.persistence[i]))
    for y, i in enumerate(rows):
        left, right = np.clip([bars.birth[i], bars.death[i]], low, high)
        tint = color if bars.significant[i] else NOISE
        face = "white" if bars.dimension[i] else tint
        axes.barh(y, right - left, 0.62, left, facecolor=face, edgecolor=tint, linewidth=0.7)
        if np.isinf(bars.death[i]):
            axes.plot(high, y, color=tint, **ENDLESS)
    axes.set(ylim=(max(len(rows), 6) - 0.5, -0.5), yticks=[], ylabel="longest bars")
    number = [int((bars.significant & (bars.dimension == d)).sum()) for d in (0, 1)]
    said = [f"{number[0]} {'minimum' if number[0] == 1 else 'minima'}"]
    said += [f"{number[1] or 'no'} loop{'s' * (number[1] != 1)}"] if len(bars.axes) == 2 else []
    if noise := int((~bars.significant).sum()):
        said.append(f"{noise} in the noise")
    axes.annotate(", ".join(said), (0.5, 1), (0, 2), "axes fraction", "offset points", **ABOVE)
    return axes


def _order(tree: MergeTree, kept: np.ndarray) -> list[int]:
    """Minima from left to right: what has joined stays together, and the smaller part goes to the outside."""
    groups = {int(i): [int(i)] for i in kept}
    for i in sorted(groups, key=lambda i: tree.death[i]):
        if (parent := int(tree.parent[i])) >= 0:
            mine, theirs = groups.pop(i), groups[parent]
            at_left = theirs.index(parent) < len(theirs) / 2 and len(theirs) > 1
            groups[parent] = mine + theirs if at_left else theirs + mine
    return [i for group in groups.values() for i in group]


def _panel(axes: Axes, row: str, file: Results, norm: Normalize, color: str, room: float) -> Axes:
    """A tree or a barcode with its axis of losses, `room` inches wide."""
    log = isinstance(norm, LogNorm)
    wide = row == "tree" or room > 1.8
    label = loss_label([file], ", log scale" if log and wide else "").replace(" (", "\n(")
    if row == "tree":
        branches(axes, merge_tree(file), norm, color)
        axes.set(ylim=limits_of(norm), ylabel=label, yscale="log" if log else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(2 if room < 2 else 5, steps=[1, 2, 5, 10]))
    else:
        bands(axes, barcode(file), norm, color)
        axes.set(xlim=limits_of(norm), xlabel=label, xscale="log" if log else "linear")
    axis = axes.yaxis if row == "tree" else axes.xaxis
    ticks = levels_of(norm)
    decades = ticks[np.isclose(np.log10(np.abs(ticks) + (ticks == 0)) % 1, 0)] if log else ticks
    ticks = decades if len(decades) > 2 else ticks
    ticks = ticks[:: -(-len(ticks) // max(2, int((HEIGHTS[row] if row == "tree" else room) / 0.32)))]
    axis.set_ticks(ticks, labels=labels_of(ticks))
    axis.set_minor_locator(NullLocator())
    return axes


def _rows(show: str) -> tuple[str, ...]:
    if show not in SHOWN:
        raise BadInput(f"there is no {show!r} to show of a surface; use {', '.join(SHOWN)}")
    return SHOWN[1:] if show == "topology" else (show,)


def _parts(file: Results, title: str) -> list[Part]:
    """A surface; or each of its repeats."""
    if "repeat" not in file.coordinates:
        return [Part(file, title, title)]
    number = len(file.coordinates["repeat"])
    names = [f"{title}, directions {i + 1}" if number > 1 else title for i in range(number)]
    return [Part(file.isel(repeat=i), title, name) for i, name in enumerate(names)]


def _norm(files: Sequence[Results], low: float | None, high: float | None, linear: bool) -> Normalize:
    """A scale from the lowest minimum to a little above all that ends; surfaces may go on far beyond."""
    known = [barcode(file) for file in files]
    losses = [np.concatenate([bars.birth, bars.death[np.isfinite(bars.death)]]) for bars in known]
    if not any(np.isfinite(bars.death).any() for bars in known):  # nothing but bowls
        losses = [np.where(file.known, file["loss"], np.nan).ravel() for file in files]
    norm = common_norm(losses, low, high, linear)
    ends = limits_of(norm)
    if high is not None:
        return norm
    if isinstance(norm, LogNorm):
        return LogNorm(ends[0], ends[1] * (ends[1] / ends[0]) ** ROOM)
    return Normalize(ends[0], ends[1] + ROOM * (ends[1] - ends[0]))


def _key(figure: Figure, rows: Sequence[str]) -> list[Artist]:
    """What marks mean, of those that are there."""
    lines = [line for axes in figure.axes for line in axes.lines]
    patches = [patch for axes in figure.axes for patch in axes.patches]
    grey = matplotlib.colors.to_rgba(NOISE)
    loops = [patch for patch in patches if patch.get_facecolor() == (1, 1, 1, 1)]
    key: list[Artist] = []
    if "tree" in rows:
        key.append(Line2D([], [], color="0.3", label="minimum", **DOT))
        if any(line.get_marker() == PASS["marker"] for line in lines):
            key.append(Line2D([], [], color="0.3", label="saddle", **PASS))
    if "barcode" in rows:
        key.append(Line2D([], [], color="0.3", linewidth=4.5, solid_capstyle="butt", label="bar of a minimum"))
        if loops:
            key.append(Patch(facecolor="white", edgecolor="0.3", label="of a loop"))
        if any(patch.get_edgecolor() == grey for patch in patches):
            key.append(Patch(facecolor=NOISE, label="within the noise"))
    return key


def _note(files: Sequence[Results], rows: Sequence[str]) -> str:
    """How to read it, and where the noise is not known."""
    dims = {len([name for name in file.dims["loss"] if name != "repeat"]) for file in files}
    domain = DOMAINS.get(dims.pop(), "domain") if len(dims) == 1 else "domain"
    sentences = [EXPLAINED[row].format(domain=domain) for row in rows]
    if any(noiseless(file) for file in files):
        sentences.append("Where the noise of the losses is unknown, nothing but the lowest minimum counts as above it.")
    return " ".join(sentences)
