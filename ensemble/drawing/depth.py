"""A figure of resilience over depth: the error (or loss) after one deletion, in networks of many depths and seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from ensemble.drawing.measure import as_errors, bounded, label, measured
from landscape.analysis.labels import network_label
from landscape.drawing.style import DASHES, LEGEND, NOTE, STYLE, Figure, abreast, check_width, looks_of, wrapped
from landscape.drawing.words import titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["by_depth", "damages", "resilience"]


def damages(file: Results, errors: bool | None = None) -> tuple[np.ndarray, float]:
    """The error after each single deletion, in percent, and that of the intact network.

    Parameters
    ----------
    file : a lesion table
    errors : give errors, or else losses; by default, whether the file has an accuracy

    Raises
    ------
    BadInput
        The file has neither.
    """
    number = file["deleted"].sum(axis=1)
    error = measured(file, errors)
    one, none = error[number == 1], error[number == 0]
    if not (np.isfinite(one).any() and np.isfinite(none).any()):
        raise BadInput(f"{file.source} has no deletions of single blocks; measure them first")
    return one[np.isfinite(one)], float(none[0])


def by_depth(
    axes: Axes,
    files: Sequence[Results],
    *,
    color: str = "black",
    shift: Mapping[int, float] | None = None,
    errors: bool | None = None,
) -> Axes:
    """Draw the error after one deletion by the number of blocks that a network has (Veit et al. 2016, §4.1).

    Parameters
    ----------
    axes : Axes
    files : single deletions; networks of one size are trainings of one kind
    color : of everything drawn
    shift : by number of blocks, a factor to the right, so that kinds do not hide each other
    errors : as for `damages`

    Returns
    -------
    Axes
        The ones given: a dot for each block of each network; a line through the means over blocks and networks, with a
        band that spans the networks' own means; dashed the mean of the intact errors.
    """
    sizes = sorted({len(file.coordinates["block"]) for file in files})
    means, intact = [], []
    x = np.array([size * (shift or {}).get(size, 1.0) for size in sizes])
    for size, place in zip(sizes, x, strict=True):
        curves = [damages(file, errors) for file in files if len(file.coordinates["block"]) == size]
        for one, _ in curves:
            axes.plot(np.full(len(one), place), one, ".", color=color, alpha=0.5, markersize=3, mew=0)
        means.append([one.mean() for one, _ in curves])
        intact.append(np.mean([none for _, none in curves]))
    axes.fill_between(x, [min(m) for m in means], [max(m) for m in means], color=color, alpha=0.2, linewidth=0)
    axes.plot(x, [np.mean(m) for m in means], "o-", color=color, markersize=3)
    ends = x if len(x) > 1 else x[0] * np.array([1 / 1.05, 1.05])  # of one size a line is a dash
    axes.plot(ends, np.broadcast_to(intact, len(ends)), color=color, linewidth=0.7, dashes=DASHES)
    return axes


def resilience(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 3.25) -> Figure:
    """Draw how much networks of many depths suffer from one deletion.

    Parameters
    ----------
    files : of ``lesion.py --delete 1``, of several depths and seeds
    titles : one a file; files of one title are of one kind. By default the networks' names without their depths.
    width : of the figure, in inches

    Returns
    -------
    Figure
    """
    kind_names = [network_label(re.sub(r"-\d+(?=:|$)", "", file.network)) for file in files]
    names = titles_of(files, list(titles) if titles else kind_names)
    errors = as_errors(files)
    kinds = list(dict.fromkeys(names))
    with matplotlib.rc_context(STYLE):
        figure = Figure((check_width(width), 0.5 + 0.6 * width), layout="constrained")
        axes = figure.subplots()
        of_kinds = {kind: [f for f, name in zip(files, names, strict=True) if name == kind] for kind in kinds}
        there = {kind: {len(file.coordinates["block"]) for file in mine} for kind, mine in of_kinds.items()}
        sizes = sorted(set().union(*there.values()))
        for kind, mine in of_kinds.items():
            by_depth(axes, mine, color=looks_of(kinds)[kind]["color"], shift=_apart(kind, there), errors=errors)
        what, _, unit = label(files, errors).partition(" (")
        after = f"{what} after one deletion" + (f" ({unit}" if unit else "")
        axes.set(xscale="log", xlabel="number of blocks", ylabel=after)
        bounded(axes, files, errors)
        ticks = [size for size, before in zip(sizes, [0, *sizes], strict=False) if size > 1.12 * before]
        axes.set_xticks(sizes, [str(size) if size in ticks else "" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        keys = [
            Line2D([], [], color=look["color"], marker="o", markersize=3, label=kind)
            for kind, look in looks_of(kinds).items()
        ]
        figure.legend(handles=keys, loc="outside upper center", ncols=abreast(kinds, width, size=LEGEND))
        notes = [
            Line2D([], [], color="0.3", marker="o", markersize=3, label="mean over blocks, range of trainings"),
            Line2D([], [], color="0.3", linestyle="none", marker=".", markersize=3, label="one block"),
            Line2D([], [], color="0.3", linewidth=0.7, dashes=DASHES, label="intact network"),
        ]
        beside = any(place != 1 for kind in kinds for place in _apart(kind, there).values())
        title = "Networks of one number of blocks stand side by side, around its tick." if beside else None
        ncols = max(1, int(width / 1.6))
        text: dict[str, Any] = {"title": title and wrapped(title, width - 0.3), "title_fontsize": NOTE}
        figure.legend(handles=notes, loc="outside lower center", ncols=ncols, fontsize=NOTE, **text)
    return figure


def _apart(kind: str, sizes: Mapping[str, set[int]]) -> dict[int, float]:
    """Where a kind's networks stand, by and in their size: on its tick, or beside it where other kinds have it too.

    Parameters
    ----------
    kind : one of the keys
    sizes : of the networks of each kind
    """
    places = {}
    for size in sizes[kind]:
        same = [other for other, its in sizes.items() if size in its]
        places[size] = 1.04 ** (same.index(kind) - (len(same) - 1) / 2)
    return places
