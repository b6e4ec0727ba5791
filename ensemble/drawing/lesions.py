"""Figures of lesions: the error when blocks are deleted, trade places, run twice, or give something else.

Where accuracy is not defined, they show the loss. Errors are in percent; blocks stand in the order of the forward
pass. A stage is what block names share before their last dot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ensemble.drawing.measure import LOST, SAME, as_errors, bounded, interval, label, lost, measured, wilson
from ensemble.lesions.kinds import change_of
from landscape.drawing.layout import arranged
from landscape.drawing.style import DASHES, LEGEND, NOTE, STYLE, Figure, check_width, looks_of, width_of, wrapped
from landscape.drawing.views import shown
from landscape.drawing.words import titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = [
    "blocks",
    "by_block",
    "by_kind",
    "by_neighbours",
    "by_number",
    "by_order",
    "depth_order",
    "lesions",
    "wilson",
]

ROUNDING = 1e-6
DOT: dict[str, Any] = {"marker": "o", "markersize": 2.6}
DIAMOND: dict[str, Any] = {"marker": "D", "markersize": 3.4, "markerfacecolor": "white"}
# The parts of a layer, of which each is a block
PARTS: dict[str, dict[str, Any]] = {
    "attention": {"marker": "o", "markersize": 3.0},
    "mlp": {"marker": "^", "markersize": 3.6, "markerfacecolor": "white"},
}
INTACT: dict[str, dict | None] = {"intact network": {"dashes": DASHES, "linewidth": 0.7}}
TRIAL: dict[str, dict | None] = {"one trial": {"linestyle": "none", "marker": ".", "markersize": 4}}
MEDIANS: dict[str, dict | None] = {"median": {}, "quartiles": {"linewidth": 5, "alpha": 0.2}, **TRIAL}
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100, "fashionmnist": 10}


def depth_order(names: Sequence[Sequence[str]]) -> list[str]:
    """Blocks of several networks in one order; a block that the first lacks follows its predecessor.

    >>> depth_order([["a.0", "b.0"], ["a.0", "a.1", "b.0"]])
    ['a.0', 'a.1', 'b.0']
    """
    order: list[str] = []
    for blocks in names:
        place = 0
        for name in blocks:
            if name not in order:
                order.insert(place, name)
            place = order.index(name) + 1
    return order


def by_block(
    axes: Axes,
    file: Results,
    order: Sequence[str],
    *,
    color: str = "black",
    shift: float = 0.0,
    span: int | None = None,
    errors: bool | None = None,
) -> Axes:
    """Draw the error after each single deletion, with its 95 % interval, and dashed the intact error.

    Parameters
    ----------
    axes : Axes
    file : a lesion table
    order : names of the blocks along x; those that the file lacks stay empty
    color : of everything drawn
    shift : to the right, so that networks do not hide each other
    span : places along x that these blocks are spread over; by default as many as there are
    errors : draw errors, or else losses; by default, whether the file has an accuracy

    Returns
    -------
    Axes
        The ones given. The first block of every stage but the first, which changes the shape, is an
        open diamond; of a transformer's layers, an attention is a dot and an MLP an open triangle.
    """
    deleted, done = file["deleted"], file["done"]
    alone = np.flatnonzero((deleted.sum(axis=1) == 1) & done)
    names = file.coordinates["block"][deleted[alone].argmax(axis=1)]
    place = np.array([order.index(name) for name in names], dtype=int)  # from 0; drawn from 1
    x = (place + 0.5) * (span or len(order)) / len(order) + 0.5 + shift
    first = np.isin(place, _shape_changing(order))
    looks = [(~first, DOT), (first, DIAMOND)]
    if _in_parts(order):
        part = np.array([name.rpartition(".")[2] for name in names])
        looks = [(part == which, look) for which, look in PARTS.items()]
    return _points(axes, file, alone, x, looks, color, errors)


def by_neighbours(
    axes: Axes, file: Results, *, color: str = "black", shift: float = 0.0, errors: bool | None = None
) -> Axes:
    """Draw the error after two neighbours have traded places, between the two, and dashed the intact error.

    Parameters
    ----------
    axes, file, color, shift, errors : as for `by_block`
    """
    moved = file["order"] != np.arange(file["order"].shape[1])
    swaps = np.flatnonzero(moved.any(axis=1) & file["done"])
    x = moved[swaps].argmax(axis=1) + 1.5 + shift
    return _points(axes, file, swaps, x, [(np.full(len(swaps), True), DOT)], color, errors)


def _points(
    axes: Axes, file: Results, trials: np.ndarray, x: np.ndarray, looks: list, color: str, errors: bool | None
) -> Axes:
    """Draw some trials at places along x with their 95 % intervals, and dashed the first that changes no block.

    Parameters
    ----------
    looks : markers, each with which of the trials have it
    """
    values = measured(file, errors)
    error, (low, high) = values[trials], (end[trials] for end in interval(file, errors))
    with np.errstate(invalid="ignore"):  # infinite losses are results
        axes.errorbar(x, error, (error - low, high - error), fmt="none", ecolor=color, elinewidth=0.6)
    lost(axes, x, ~np.isfinite(error), color)
    for these, look in looks:
        axes.plot(x[these], error[these], color=color, linestyle="none", **look)
    changed = file["order"] != np.arange(file["order"].shape[1]) if "order" in file else file["deleted"]
    for intact in np.flatnonzero(~changed.any(axis=1) & file["done"])[:1]:
        axes.axhline(values[intact], color=color, linewidth=0.7, dashes=DASHES, zorder=1)
        axes.update_datalim([(0, values[intact])], updatex=False)  # else it may lie on the frame
        axes.autoscale_view(scalex=False)
    return axes


def by_number(
    axes: Axes,
    file: Results,
    *,
    color: str = "black",
    shift: float = 0.0,
    variable: str = "deleted",
    errors: bool | None = None,
) -> Axes:
    """Draw the error by number of deleted blocks: every trial, a band of quartiles, the median.

    Parameters
    ----------
    axes, file, color, shift, errors : as for `by_block`
    variable : of the file, over (trial, block): the blocks that are counted

    Returns
    -------
    Axes
        The ones given.
    """
    count = file[variable].sum(axis=1)
    error = measured(file, errors)
    known = np.isfinite(error)
    counts = np.unique(count[known])
    jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(count))  # for the eye only
    axes.plot((count + jitter + shift)[known], error[known], ".", color=color, alpha=0.4, markersize=2.5, mew=0)
    lost(axes, count + jitter + shift, file["done"] & ~known, color)
    quartiles = np.array([np.percentile(error[known & (count == k)], [25, 50, 75]) for k in counts]).reshape(-1, 3)
    return _medians(axes, counts + shift, quartiles, color)


def by_order(axes: Axes, file: Results, *, color: str = "black", errors: bool | None = None) -> Axes:
    """Draw the error by Kendall's τ between a trial's order of blocks and the trained one (Veit et al. 2016, Fig. 5b).

    Parameters
    ----------
    axes, file, color, errors : as for `by_block`

    Returns
    -------
    Axes
        The ones given: every trial; the median and a band of quartiles over steps of τ of 0.02, or of a twelfth of what
        there is if that is more.
    """
    error = measured(file, errors)
    known = np.isfinite(error)
    lost(axes, file["kendall_tau"], file["done"] & ~known, color)
    tau, error = file["kendall_tau"][known], error[known]
    axes.plot(tau, error, ".", color=color, alpha=0.4, markersize=2.5, mew=0)
    step = max(0.02, float(np.ptp(tau)) / 12) if len(tau) else 0.02
    place = np.round((1 - tau) / step).astype(int)
    places = np.unique(place)
    quartiles = np.array([np.percentile(error[place == p], [25, 50, 75]) for p in places]).reshape(-1, 3)
    return _medians(axes, np.array([tau[place == p].mean() for p in places]), quartiles, color)


def _medians(axes: Axes, at: np.ndarray, quartiles: np.ndarray, color: str) -> Axes:
    """Medians as a line in a band of quartiles; of one or two places, as points, since a line would promise more."""
    low, middle, high = quartiles.T
    if len(at) < 3:
        ends = (middle - low, high - middle)
        axes.errorbar(at, middle, ends, fmt="_", color=color, markersize=8, elinewidth=0.8)
    else:
        axes.fill_between(at, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(at, middle, color=color)
    return axes


def by_kind(axes: Axes, errors: Sequence[np.ndarray], *, color: str = "black", shift: float = 0.0) -> Axes:
    """Draw a bar for each kind of lesion: the median error of its trials, with their quartiles.

    Parameters
    ----------
    axes : Axes
    errors : of each kind the trials' errors, in percent, or their losses; none leaves its place empty
    color : of the bars
    shift : downwards, so that networks do not hide each other

    Returns
    -------
    Axes
        The ones given; the first kind is on top.
    """
    for place, error in enumerate(errors):
        if len(error):
            low, middle, high = np.percentile(error, [25, 50, 75])
            axes.barh(place + shift, middle, height=0.3, color=color, alpha=0.6, linewidth=0)
            axes.errorbar(middle, place + shift, xerr=[[middle - low], [high - middle]], ecolor="black", elinewidth=0.6)
    return axes


def lesions(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    variable: str | None = None,
) -> Figure:
    """Draw lesion tables: a panel for single deletions, for deletions of many blocks, for other orders, and so on.

    Parameters
    ----------
    files : lesion tables. One that never deletes more than one block at a time belongs to the left. Where blocks give
        something else or stand side by side, bars compare that with single deletions.
    titles : one a file; by default the names of the networks. Files of one title share a colour.
    width : of the figure, in inches
    variable : what is drawn, such as "loss", "kl" or another metric; by default the error

    Returns
    -------
    Figure
        Of errors; of losses if accuracy is not defined in one of the files.
    """
    files = files if variable is None else [_of(file, variable) for file in files]
    titles, errors = titles_of(files, titles, SAME), as_errors(files)
    color = {title: look["color"] for title, look in looks_of(titles).items()}
    sides: dict = {_singles: [], _multiples: [], _neighbours: [], _orders: [], _counts: [], _kinds: []}
    for file, title in zip(files, titles, strict=True):
        sides[_side(file)].append((file, title))
    if sides[_kinds]:
        sides[_kinds] = [*sides[_singles], *sides[_counts], *sides[_kinds]]
    sides = {draw: pairs for draw, pairs in sides.items() if pairs}
    with matplotlib.rc_context(STYLE):
        stacked = check_width(width) < 4.5
        number = len(sides) - (_kinds in sides)
        beside = 3 if number == 3 and width >= 5 and _singles not in sides else 2  # none stands alone in its row
        columns = 1 if stacked else min(beside, max(1, number))
        ratios = [1.6 if _singles in sides else 1, *[1] * (columns - 1)]
        places: list[tuple] = [divmod(i, columns) for i in range(number)]
        if number % columns:
            places[-1] = (places[-1][0], slice(places[-1][1], None))
        if _kinds in sides:  # last, in a row of its own: its names take room
            places.append((-(-number // columns), slice(None)))
        rows = 1 + places[-1][0]
        figure = Figure((width, 2.3 * rows), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.03))
        grid = figure.add_gridspec(rows, columns, width_ratios=ratios)
        panels = [figure.add_subplot(grid[place]) for place in places]
        keys: dict[str, dict | None] = {}  # of the legend; None for a sentence
        for axes, (draw, pairs) in zip(panels, sides.items(), strict=True):
            keys |= draw(axes, pairs, color, errors)
            room = width * axes.get_position().width + 0.2  # inches; a label may be somewhat longer than its axis
            if draw is _kinds:  # beside names
                size = STYLE["ytick.labelsize"]
                lines = [wrapped(tick.get_text(), 0.4 * width, size) for tick in axes.get_yticklabels()]
                axes.set_yticks(axes.get_yticks(), lines)
                room -= max(width_of(line, size) for name in lines for line in name.split("\n"))
            axes.set_xlabel(wrapped(axes.get_xlabel(), room, STYLE["axes.labelsize"]))
        if not errors:
            _share_scale([axes for axes, draw in zip(panels, sides, strict=True) if draw is not _kinds], files)
        bars = list(sides) == [_kinds]
        look: dict[str, Any] = {"linewidth": 5, "alpha": 0.6} if bars else DOT
        names = [Line2D([], [], color=c, label=title, **look) for title, c in color.items()]
        figure.legend(handles=names, loc="outside upper center", ncols=arranged(names, width, LEGEND)[0])
        sentences = wrapped(" ".join(key for key, look in keys.items() if look is None), width - 0.3)
        notes = [Line2D([], [], color="0.3", label=key, **look) for key, look in keys.items() if look is not None]
        if notes or sentences:
            text: dict[str, Any] = {"title": sentences or None, "title_fontsize": NOTE, "fontsize": NOTE}
            figure.legend(handles=notes, loc="outside lower center", ncols=arranged(notes, width)[0], **text)
    return figure


def blocks(axes: Axes, files: Sequence[Results], *, titles: Sequence[str] | None = None) -> Axes:
    """Draw the error after each single deletion onto axes.

    Parameters
    ----------
    axes : Axes
    files : tables of single deletions
    titles : as for `lesions`

    Returns
    -------
    Axes
        The ones given; every network has a label, for ``axes.legend()``.
    """
    for file in files:
        if _side(file) is not _singles:
            raise BadInput(
                f"{file.source} has more than single deletions, which are drawn as a whole figure; leave out ax"
            )
    titles, errors = titles_of(files, titles, SAME), as_errors(files)
    color = {title: look["color"] for title, look in looks_of(titles).items()}
    _singles(axes, list(zip(files, titles, strict=True)), color, errors)
    if not errors:
        _share_scale([axes], files)
    for title, one in color.items():
        axes.plot([], [], "o", color=one, markersize=2.6, label=title)
    return axes


def _singles(
    axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool
) -> dict[str, dict | None]:
    """The left panel; returns its keys for the legend."""
    orders = [list(file.coordinates["block"]) for file, _ in pairs]
    order = max(orders, key=len)
    aligned = all(_aligned(one, order) for one in orders)  # else blocks of one name are not in one place
    shifts = np.linspace(-0.15, 0.15, len(pairs)) if len(pairs) > 1 else [0.0]
    for (file, title), shift, own in zip(pairs, shifts, orders, strict=True):
        how = {"color": color[title], "shift": shift, "span": len(order), "errors": errors}
        by_block(axes, file, order if aligned else own, **how)
    starts, what = _starts(order) if aligned else [0], "layer" if _in_parts(order) else "stage"
    for stage, (start, stop) in enumerate(pairwise([*starts, len(order)]), start=1):
        if stage > 1:
            axes.axvline(start + 0.5, color="0.8", linewidth=0.5, zorder=0)
        if len(starts) > 1:
            where: dict[str, Any] = {
                "xycoords": ("data", "axes fraction"),
                "textcoords": "offset points",
                "ha": "center",
            }
            axes.annotate(f"{what} {stage}", ((start + stop + 1) / 2, 1), (0, 2), fontsize=NOTE, **where)
    axes.set(xlim=(0.3, len(order) + 0.7), xlabel="deleted block, by depth")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not aligned:
        axes.set_xlabel("deleted block, by relative depth")
        axes.set_xticks(np.linspace(0.5, len(order) + 0.5, 5), ["0", "0.25", "0.5", "0.75", "1"])
    keys: dict[str, dict | None] = dict(INTACT)
    if any(map(_shape_changing, orders)):
        keys |= {"first block of a later stage": {"linestyle": "none", **DIAMOND}}
    if any(map(_in_parts, orders)):
        keys |= {
            name: {"linestyle": "none", **look} for name, look in zip(("attention", "MLP"), PARTS.values(), strict=True)
        }
    keys |= _intervals(pairs, errors)
    without = [title for (_, title), own in zip(pairs, orders, strict=True) if aligned and _lacks_shortcuts(own, order)]
    if without:
        keys[f"Without a shortcut, blocks that change the shape cannot be deleted ({', '.join(without)})."] = None
    return keys | _finished(axes, pairs, errors, 102)


def _multiples(
    axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool
) -> dict[str, dict | None]:
    """The right panel; returns its keys for the legend."""
    for file, title in pairs:
        by_number(axes, file, color=color[title], errors=errors)
    axes.set(xlabel="number of deleted blocks")
    _whole_numbers(axes)
    if errors:
        axes.set_ylim(0, 100)
    return _spread(axes) | _finished(axes, pairs, errors)


def _neighbours(
    axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool
) -> dict[str, dict | None]:
    """The panel of neighbours that trade places; returns its keys for the legend."""
    shifts = np.linspace(-0.15, 0.15, len(pairs)) if len(pairs) > 1 else [0.0]
    for (file, title), shift in zip(pairs, shifts, strict=True):
        by_neighbours(axes, file, color=color[title], shift=shift, errors=errors)
    number = max(file["order"].shape[1] for file, _ in pairs)
    axes.set(xlim=(0.3, number + 0.7), xlabel="swapped neighbours, by depth")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return INTACT | _intervals(pairs, errors) | _finished(axes, pairs, errors, 102)


def _orders(
    axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool
) -> dict[str, dict | None]:
    """The panel of blocks that trade places; returns its keys for the legend."""
    for file, title in pairs:
        by_order(axes, file, color=color[title], errors=errors)
    axes.set(xlabel="Kendall τ of the blocks' order (1:\N{NO-BREAK SPACE}as\N{NO-BREAK SPACE}trained)")
    low, high = axes.get_xlim()
    ticks = 1 - np.array(MaxNLocator(4).tick_values(0, 1 - low))
    axes.set_xticks(ticks[(ticks >= low) & (ticks <= 1)])
    axes.set_xlim(max(high, 1 + (1 - low) / 40), low)  # the trained order is on the left, as 0 deleted blocks are
    return _spread(axes) | _finished(axes, pairs, errors)


def _counts(
    axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool
) -> dict[str, dict | None]:
    """The panel of numbers of blocks that are changed otherwise; returns its keys for the legend."""
    changes = [change_of(file) for file, _ in pairs]
    for (file, title), change in zip(pairs, changes, strict=True):
        by_number(axes, file, color=color[title], variable=change.variable, errors=errors)
    axes.set(xlabel=", ".join(dict.fromkeys(change.axis for change in changes)))
    _whole_numbers(axes)
    return _spread(axes) | _finished(axes, pairs, errors)


def _whole_numbers(axes: Axes) -> None:
    """An axis of numbers of blocks; no number stands where there are no trials."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    (low, high), (left, right) = axes.dataLim.intervalx, axes.get_xlim()
    axes.set_xlim(max(left, low - 0.7), min(right, high + 0.7))


def _spread(axes: Axes) -> dict[str, dict | None]:
    """What there is of many trials, for the legend: see `_medians`."""
    if any(isinstance(each, PolyCollection) for each in axes.collections):
        return MEDIANS
    return {"median, and upright its quartiles": {"linestyle": "none", "marker": "_", "markersize": 8}, **TRIAL}


def _kinds(axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool) -> dict[str, dict | None]:
    """The panel of bars; returns its keys for the legend."""
    kinds: dict[str, dict[str, list]] = {}
    for file, title in pairs:
        change = change_of(file)
        error, number = measured(file, errors), file[change.variable].sum(axis=1)
        for k in [1] if change.axis else np.unique(number[number > 0]):  # more of them have a panel of their own
            what = f"{k} blocks {change.label}" if k > 1 else change.label
            kinds.setdefault(what, {}).setdefault(title, []).extend(error[(number == k) & np.isfinite(error)])
    networks = list(dict.fromkeys(title for _, title in pairs))
    shifts = np.linspace(-0.18, 0.18, len(networks)) if len(networks) > 1 else [0.0]
    for title, shift in zip(networks, shifts, strict=True):
        by_kind(axes, [np.array(kind.get(title, [])) for kind in kinds.values()], color=color[title], shift=shift)
    axes.set_yticks(range(len(kinds)), kinds)
    middle, half = (len(kinds) - 1) / 2, max(len(kinds), 3) / 2 + 0.1  # a bar or two do not fill the panel
    axes.set_ylim(middle + half, middle - half)
    files = [file for file, _ in pairs]
    intact: dict[str, float] = {}
    for file, title in pairs:
        nothing = np.flatnonzero(~file[change_of(file).variable].any(axis=1) & file["done"])
        if len(nothing):
            intact[title] = float(measured(file, errors)[nothing[0]])
    for title, value in intact.items():
        axes.axvline(value, color=color[title], zorder=0, **(INTACT["intact network"] or {}))
    bounded(axes, files, errors, which="x")
    axes.set_xlabel(f"{label(files, errors)}, median and quartiles")
    return dict(INTACT) if intact else {}


def _finished(axes: Axes, pairs: list[tuple[Results, str]], errors: bool, most: float = 100) -> dict[str, dict | None]:
    """The axis of errors or losses, and a line for guessing; returns its keys for the legend."""
    files = [file for file, _ in pairs]
    axes.set_ylabel(wrapped(label(files, errors), 1.8, STYLE["axes.labelsize"]))
    if errors:
        bounded(axes, files, errors, most)
    gone = any(not np.isfinite(measured(file, errors)[file["done"]]).all() for file in files)
    return (_chance(axes, pairs) if errors else {}) | ({"not finite, in no median": LOST} if gone else {})


def _intervals(pairs: list[tuple[Results, str]], errors: bool) -> dict[str, dict | None]:
    """What the lines through the points are, for the legend; nothing where the files have no intervals."""
    if any(np.any(high > low) for low, high in (interval(file, errors) for file, _ in pairs)):
        return {"Upright lines are 95 % intervals; where none is seen, it is smaller than the mark.": None}
    return {}


def _share_scale(panels: Sequence[Axes], files: Sequence[Results]) -> None:
    """Give panels of losses one axis, so that heights compare between them."""
    for axes in panels:
        bounded(axes, files, errors=False)
    ends = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


def _of(file: Results, variable: str) -> Results:
    """A file whose loss is another variable, and that has no accuracy."""
    file = shown(file, variable)
    variables = {name: array for name, array in file.variables.items() if name != "accuracy"}
    if variable != "loss":  # what compares with the intact network is 0 there, but for rounding
        variables["loss"] = np.where(np.abs(variables["loss"]) < ROUNDING, 0, variables["loss"])
    return replace(file, variables=variables)


def _side(file: Results) -> Callable:
    """The panel that a file belongs to."""
    change = change_of(file)
    if change.variable == "order":
        return _neighbours if _swaps_neighbours(file["order"]) else _orders
    if change.variable == "deleted":
        return _multiples if file["deleted"].sum(axis=1).max(initial=0) > 1 else _singles
    # Of one block at a time a panel by number would hold two places, and a line between them.
    return _counts if change.axis and file[change.variable].sum(axis=1).max(initial=0) > 1 else _kinds


def _chance(axes: Axes, pairs: list[tuple[Results, str]]) -> dict[str, dict | None]:
    """A line at the error of guessing, where the classes are known and the axis reaches there."""
    classes = {CLASSES.get(str(file.attributes.get("data")), file.attributes.get("classes")) for file, _ in pairs}
    number = classes.pop() if len(classes) == 1 else None
    chance = np.inf if number is None else 100 * (1 - 1 / int(number))
    if chance > axes.get_ylim()[1]:
        return {}
    look: dict[str, Any] = {"linestyle": ":", "linewidth": 0.8}
    axes.axhline(chance, color="0.3", zorder=0, **look)
    return {"chance": look}


def _aligned(blocks: Sequence[str], order: Sequence[str]) -> bool:
    """Whether these blocks are among those of a network as deep: the last of each stage is there too."""
    last = [{name.rpartition(".")[0]: name for name in names} for names in (blocks, order)]
    return set(blocks) <= set(order) and last[0] == last[1]


def _shape_changing(order: Sequence[str]) -> list[int]:
    """The first blocks of stages but the first; where they cannot be deleted, the next is not one."""
    return [i for i in _starts(order)[1:] if order[i].rpartition(".")[2] == "0"]


def _lacks_shortcuts(blocks: Sequence[str], order: Sequence[str]) -> bool:
    """Whether all that these blocks lack are some that change the shape."""
    missing = set(order) - set(blocks)
    return bool(missing) and missing <= {order[i] for i in _shape_changing(order)}


def _swaps_neighbours(order: np.ndarray) -> bool:
    """Whether each trial, but for intact ones, is the trained order with two neighbours swapped."""
    moved = order != np.arange(order.shape[1])
    beside = (moved[:, :-1] & moved[:, 1:]).sum(axis=1)
    return bool(moved.any() and (~moved.any(axis=1) | ((moved.sum(axis=1) == 2) & (beside == 1))).all())


def _in_parts(order: Sequence[str]) -> bool:
    """Whether blocks are the attention and the MLP of layers."""
    return all(name.rpartition(".")[2] in PARTS for name in order)


def _starts(order: Sequence[str]) -> list[int]:
    """Where stages begin; only 0 if the names tell no stages apart, or more than could be labelled."""
    stages = [name.rpartition(".")[0] for name in order]
    starts = [i for i, stage in enumerate(stages) if i == 0 or stage != stages[i - 1]]
    return starts if len(starts) <= 6 else [0]
