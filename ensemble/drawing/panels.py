"""The panels of a figure of lesions: which files belong to which, its axes, and what its legend has to say.

Each function draws its files and returns the keys of the legend, a look by label; None for a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.ticker import MaxNLocator

from ensemble.drawing.marks import DIAMOND, OF_PARTS, by_block, by_kind, by_neighbours, by_number, by_order
from ensemble.drawing.measure import LOST, bounded, interval, label, measured
from ensemble.drawing.stages import aligned_with, in_parts, lacks_shortcuts, shape_changing, starts_of
from ensemble.lesions.kinds import change_of
from landscape.drawing.style import DASHES, NOTE, STYLE, wrapped
from landscape.engine.table import Results

__all__ = ["counts", "kinds", "multiples", "neighbours", "orders", "panel_of", "singles"]

INTACT: dict[str, dict | None] = {"intact network": {"dashes": DASHES, "linewidth": 0.7}}
TRIAL: dict[str, dict | None] = {"one trial": {"linestyle": "none", "marker": ".", "markersize": 4}}
MEDIANS: dict[str, dict | None] = {"median": {}, "quartiles": {"linewidth": 5, "alpha": 0.2}, **TRIAL}
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100, "fashionmnist": 10}


def panel_of(file: Results) -> Callable:
    """The panel that a file belongs to."""
    change = change_of(file)
    if change.variable == "order":
        return neighbours if _swaps_neighbours(file["order"]) else orders
    if change.variable == "deleted":
        return multiples if file["deleted"].sum(axis=1).max(initial=0) > 1 else singles
    # Of one block at a time a panel by number would hold two places, and a line between them.
    return counts if change.axis and file[change.variable].sum(axis=1).max(initial=0) > 1 else kinds


def singles(
    axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool
) -> dict[str, dict | None]:
    """The left panel; returns its keys for the legend."""
    names = [list(file.coordinates["block"]) for file, _ in pairs]
    order = max(names, key=len)
    aligned = all(aligned_with(one, order) for one in names)  # else blocks of one name are not in one place
    shifts = np.linspace(-0.15, 0.15, len(pairs)) if len(pairs) > 1 else [0.0]
    for (file, title), shift, own in zip(pairs, shifts, names, strict=True):
        how = {"color": color[title], "shift": shift, "span": len(order), "errors": errors}
        by_block(axes, file, order if aligned else own, **how)
    starts, what = starts_of(order) if aligned else [0], "layer" if in_parts(order) else "stage"
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
    if any(map(shape_changing, names)):
        keys |= {"first block of a later stage": {"linestyle": "none", **DIAMOND}}
    if any(map(in_parts, names)):
        keys |= {
            name: {"linestyle": "none", **look}
            for name, look in zip(("attention", "MLP"), OF_PARTS.values(), strict=True)
        }
    keys |= _intervals(pairs, errors)
    without = [title for (_, title), own in zip(pairs, names, strict=True) if aligned and lacks_shortcuts(own, order)]
    if without:
        keys[f"Without a shortcut, blocks that change the shape cannot be deleted ({', '.join(without)})."] = None
    return keys | _finished(axes, pairs, errors, 102)


def multiples(
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


def neighbours(
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


def orders(axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool) -> dict[str, dict | None]:
    """The panel of blocks that trade places; returns its keys for the legend."""
    for file, title in pairs:
        by_order(axes, file, color=color[title], errors=errors)
    axes.set(xlabel="Kendall τ of the blocks' order (1:\N{NO-BREAK SPACE}as\N{NO-BREAK SPACE}trained)")
    low, high = axes.get_xlim()
    ticks = 1 - np.array(MaxNLocator(4).tick_values(0, 1 - low))
    axes.set_xticks(ticks[(ticks >= low) & (ticks <= 1)])
    axes.set_xlim(max(high, 1 + (1 - low) / 40), low)  # the trained order is on the left, as 0 deleted blocks are
    return _spread(axes) | _finished(axes, pairs, errors)


def counts(axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool) -> dict[str, dict | None]:
    """The panel of numbers of blocks that are changed otherwise; returns its keys for the legend."""
    changes = [change_of(file) for file, _ in pairs]
    for (file, title), change in zip(pairs, changes, strict=True):
        by_number(axes, file, color=color[title], variable=change.variable, errors=errors)
    axes.set(xlabel=", ".join(dict.fromkeys(change.axis for change in changes)))
    _whole_numbers(axes)
    return _spread(axes) | _finished(axes, pairs, errors)


def kinds(axes: Axes, pairs: list[tuple[Results, str]], color: dict[str, str], errors: bool) -> dict[str, dict | None]:
    """The panel of bars; returns its keys for the legend."""
    bars: dict[str, dict[str, list]] = {}
    for file, title in pairs:
        change = change_of(file)
        error, number = measured(file, errors), file[change.variable].sum(axis=1)
        for k in [1] if change.axis else np.unique(number[number > 0]):  # more of them have a panel of their own
            what = f"{k} blocks {change.label}" if k > 1 else change.label
            bars.setdefault(what, {}).setdefault(title, []).extend(error[(number == k) & np.isfinite(error)])
    networks = list(dict.fromkeys(title for _, title in pairs))
    shifts = np.linspace(-0.18, 0.18, len(networks)) if len(networks) > 1 else [0.0]
    for title, shift in zip(networks, shifts, strict=True):
        by_kind(axes, [np.array(kind.get(title, [])) for kind in bars.values()], color=color[title], shift=shift)
    axes.set_yticks(range(len(bars)), bars)
    middle, half = (len(bars) - 1) / 2, max(len(bars), 3) / 2 + 0.1  # a bar or two do not fill the panel
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


def _swaps_neighbours(order: np.ndarray) -> bool:
    """Whether each trial, but for intact ones, is the trained order with two neighbours swapped."""
    moved = order != np.arange(order.shape[1])
    beside = (moved[:, :-1] & moved[:, 1:]).sum(axis=1)
    return bool(moved.any() and (~moved.any(axis=1) | ((moved.sum(axis=1) == 2) & (beside == 1))).all())
