"""Whole figures from results files: planes of two dimensions, profiles of one.

Sizes are in inches and every part has its place, so that text is as large as the paper's and nothing
is squeezed or left empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter

from landscape.analysis.geometry import barrier_between
from landscape.analysis.labels import NORMALIZATIONS, network_label
from landscape.drawing.scale import common_norm, extension, label_of, labels_of, levels_of, limits_of, rounded
from landscape.drawing.style import (
    DASHES,
    LEGEND,
    NOTE,
    STYLE,
    Figure,
    abreast,
    check_width,
    colormap,
    looks_of,
    width_of,
    wrapped,
)
from landscape.drawing.surface import MISSING, contours, profile, relief, relief_extent
from landscape.drawing.views import averaged, shown
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = [
    "COMPONENTS",
    "LINE",
    "PARTS",
    "arranged",
    "axis_label",
    "colour_bar",
    "contour",
    "curves",
    "legend",
    "line_label",
    "loss_label",
    "notes_of",
    "panel",
    "place_of",
    "planes",
    "profiles",
    "split_of",
    "titles_of",
    "unit_of",
]

ERROR: dict[str, Any] = {"dashes": DASHES, "linewidth": 0.8}
DOTS = (1, 2)
NARROW = 1.6  # inches of a panel
CENTRE: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": NOTE, "annotation_clip": False}
LOST: dict[str, Any] = {"linestyle": "none", "marker": "x", "markersize": 3}
LEFT, RIGHT, GAP = 0.5, 0.1, 0.14  # inches beside and between panels
NAMES = 0.1  # inches below a relief for the names of its axes
LINE = 0.14  # inches of a line of a legend
CHARACTERS = 40  # that stand beside a colour bar without touching
PARTS = ("contours", "reliefs")
COMPONENTS = "principal components of the path"  # how a file says that its plane is that of a path's own components
TELLING = {  # what two files of one checkpoint may differ in, and how a title says it
    "split": "{}",
    "loss": "{}",
    "align": "aligned by {}",
    "batchnorm": "BatchNorm {}",
    "dtype": "{}",
    "seed": "seed {}",
}
UNITS = {"cross_entropy": "nats per example", "mse": "mean squared error"}


def planes(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    width: float = 5.5,
    levels: Sequence[float] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
    view: tuple[float, float] = (35, -55),
    variable: str = "loss",
    only: str | None = None,
) -> Figure:
    """Draw surfaces side by side on one scale: contours above, reliefs below.

    Parameters
    ----------
    files : surfaces over (y, x)
    titles : one a file; by default the names of the networks
    width : of the figure, in inches
    levels : losses to draw a contour at
    vmin, vmax : ends of the scale; see `common_norm`
    linear : a linear scale instead of a logarithmic one
    cmap : name of a colour map
    view : elevation and azimuth of the eye, in degrees
    variable : which loss, where a file has several: test_loss, mse, objective, …
    only : one of `PARTS`, to leave out the other

    Returns
    -------
    Figure
    """
    files = [shown(file, variable) for file in files]
    for file in files:
        _check_grid(file)
    losses = [_measured(file) for file in files]
    norm = common_norm(losses, vmin, vmax, linear)
    beyond = extension(norm, losses)
    notes = notes_of(files, losses, norm, beyond)
    gap = _gap(files, only)
    side = _side(_columns(files, only), check_width(width, 0.8 * len(files) + 0.5), gap)
    titles = [fill(title, int(14 * side)) for title in titles_of(files, titles)]  # 14 letters an inch
    colours = colormap(cmap)
    centres = _centres(files, side)
    under = max(centre.count("\n") + bool(centre) for centre in centres)  # lines below the titles
    with matplotlib.rc_context(STYLE):
        lines = 1 + max(title.count("\n") for title in titles) + under
        figure, tops, bottoms, bar = _sheet(files, width, lines, arranged(notes, width)[1], only, view)
        for i, (file, loss, title, centre) in enumerate(zip(files, losses, titles, centres, strict=True)):
            x, y, done = file.coordinates["x"], file.coordinates["y"], file.known
            if tops:
                axes = contours(tops[i], x, y, loss, norm, done=done, levels=levels, cmap=colours, mark=place_of(file))
                axes.set_title(title, pad=4 + 72 * LINE * under)
                axes.annotate(centre, (0.5, 1), (0, 3), "axes fraction", "offset points", **CENTRE)
                axes.set_xlabel(axis_label("α", file, room=side))
                if i == 0:
                    axes.set_ylabel(axis_label("β", file, room=axes.bbox.height / figure.dpi))
                elif gap == GAP:  # one range for all
                    axes.tick_params(labelleft=False)
                if len(files) > 1 and gap == GAP:
                    _inward(axes, 2 if side < NARROW else 4)
            if bottoms:
                upright = f"{split_of(files)}loss" if i == 0 else None  # one scale for all
                relief(bottoms[i], x, y, loss, norm, done=done, cmap=colours, view=view, label=upright)
            if not tops:  # a relief does not fill its axes, and a title above them would hang in the air
                across, up = figure.get_size_inches()
                middle = bottoms[i].get_position().x0 + side / across / 2
                figure.text(middle, 1 - 0.06 / up, title, ha="center", va="top", fontsize=STYLE["axes.titlesize"])
                below = 0.08 + 0.13 * (lines - under)
                figure.text(middle, 1 - below / up, centre, ha="center", va="top", fontsize=NOTE)
        label = loss_label(files, ", log scale" if isinstance(norm, LogNorm) else "")
        colour_bar(figure, norm, colours, levels, beyond, label, cax=bar, orientation="horizontal")
        legend(figure, "lower center", notes)
    return figure


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
    titles, width, vmin, vmax, linear, variable : as for `planes`

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
        losses = [_measured(file) for file in files]
        said = "losses go up to {}, the axis to {}", "losses go down to {}, the axis to {}"
        remarks = _unnamed(files, names) + _clipped(losses, norm, extension(norm, losses), *said) + _interpolated(files)
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


def contour(
    axes: Axes,
    files: Sequence[Results],
    *,
    levels: Sequence[float] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
    variable: str = "loss",
) -> Axes:
    """Draw one surface onto axes as contours, without a colour bar.

    Parameters
    ----------
    axes : Axes
    files : one surface over (y, x)
    levels, vmin, vmax, linear, cmap, variable : as for `planes`

    Returns
    -------
    Axes
        The ones given; a colour bar can be made of their first collection, ``axes.collections[0]``.
    """
    if len(files) != 1:
        raise BadInput(f"one axes shows one surface over a plane, got {len(files)}; draw each onto axes of its own")
    (file,) = [shown(file, variable) for file in files]
    _check_grid(file)
    x, y, loss = file.coordinates["x"], file.coordinates["y"], _measured(file)
    norm = common_norm([loss], vmin, vmax, linear)
    contours(axes, x, y, loss, norm, done=file.known, levels=levels, cmap=colormap(cmap), mark=place_of(file))
    axes.set(xlabel=axis_label("α", file), ylabel=axis_label("β", file))
    return axes


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
    losses = [_measured(file) for file in files]
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
    loss = _measured(file)
    if "low" not in file:
        return loss - file["loss_se"], loss + file["loss_se"]
    low, high = (np.where(file["done"], file[end], np.nan) for end in ("low", "high"))
    return low, high


def _curves(axes: Axes, files: Sequence[Results], titles: Sequence[str], norm: Normalize) -> Axes:
    """Losses, bands and axis of `profiles`."""
    looks = looks_of(titles)
    for file, title in zip(files, titles, strict=True):
        x, loss, color = file.coordinates["x"], _measured(file), looks[title]["color"]
        height = barrier_between(loss, file["loss_se"], x) if _with_barriers(files) else None
        label = title
        if height is not None and np.isfinite(height[0]):
            label = f"{title}: barrier {height[0]:.3g} ± {height[1]:.1g}"
            share, (first, last) = np.linspace(0, 1, 51), loss[np.isin(x, (0, 1))]
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
        decades = [level for level in levels if _is_decade(level)]
        ticks = decades if len(decades) > 2 else levels
        axes.set(yscale="log", ylim=(norm.vmin, norm.vmax))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks(ticks, labels=labels_of(ticks))
    return axes


def titles_of(
    files: Sequence[Results], titles: Sequence[str] | None = None, shared: Sequence[str] | None = None
) -> list[str]:
    """What each file's network is called in a figure, with what tells two files of one network apart.

    Parameters
    ----------
    files : of a figure
    titles : one a file, which are taken as they are
    shared : attributes; files that have all of them in common are told apart by nothing. By default every file is.
    """
    if titles is not None and len(titles) != len(files):
        raise BadInput(f"{len(titles)} titles were given for {len(files)} files; give one a file")
    if titles:
        return list(titles)
    names = [network_label(file.network) for file in files]
    one = [i if shared is None else _values(file, shared) for i, file in enumerate(files)]
    labels = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        same = [i for i, each in enumerate(names) if each == name]
        for i, more in zip(same, _apart([files[i] for i in same], [one[i] for i in same]), strict=True):
            labels[i] = f"{name} ({', '.join(more)})" if more else name
    return labels


def _unnamed(files: Sequence[Results], titles: Sequence[str]) -> list[str]:
    """Which network it is, for a note, where all lines are of one and no title, nor the axis, names it."""
    networks = {network_label(file.network) for file in files}
    (one, *others) = networks
    return [] if others or any(one in text for text in (*titles, line_label(files))) else [f"network: {one}"]


def _apart(files: Sequence[Results], groups: Sequence) -> list[list[str]]:
    """For each of some files of one title, what tells it from those of other groups."""
    labels: list[list[str]] = [[] for _ in files]

    def settled() -> bool:  # no two groups are told alike
        pairs = {(tuple(each), group) for each, group in zip(labels, groups, strict=True)}
        return len({each for each, _ in pairs}) == len(pairs)

    same = len({file.attributes.get("checkpoint") for file in files}) == 1
    for name, form in TELLING.items() if same else ():
        values = [str(file.attributes.get(name, "")) for file in files]
        if not settled() and len(set(values)) > 1:
            for each, value in zip(labels, values, strict=True):
                each.append(form.format(value) if value else f"not {form.partition(' ')[0]}")
    if settled():
        return labels
    names = [[file.path.stem if file.path else str(number)] for number, file in enumerate(files, 1)]
    labels = [names[groups.index(group)] for group in groups]  # a group is called by its first file
    return labels if settled() else [[file.source] for file in files]


def _values(file: Results, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(file.attributes.get(name)) for name in names)


def split_of(files: Sequence[Results]) -> str:
    """ "training ", "test ", or nothing if the files differ."""
    split = {str(file.attributes.get("split")) for file in files}
    return {"train": "training ", "test": "test "}.get(split.pop(), "") if len(split) == 1 else ""


def _check_grid(file: Results) -> None:
    if min(file["loss"].shape) < 2:
        raise BadInput(f"{file.source} is a grid of {file['loss'].shape} points; contours need 2 or more each way")


def _centres(files: Sequence[Results], width: float) -> list[str]:
    """The loss and the error at the centre of each file, on as few lines as panels of that width have room for."""
    parts = [_centre(file) for file in files]
    for first, second in ((" ", " "), (" ", "\n"), ("\n", "\n")):
        texts = [second.join([first.join(each[:2]), *each[2:]]) for each in parts]
        if all(width_of(line) <= width for text in texts for line in text.split("\n")):
            break
    return texts


def place_of(file: Results) -> tuple[float, float]:
    """Where the network itself lies in its plane: of directions at 0, and of gates, for which 0 is a lesion, at 1."""
    return (1.0, 1.0) if "gates" in file.attributes else (0.0, 0.0)


def _centre(file: Results) -> list[str]:
    """The loss and the error of the network itself; nothing if they were not measured."""
    place = place_of(file)
    at = tuple(np.flatnonzero(file.coordinates[axis] == end) for axis, end in zip("xy", place, strict=True))[::-1]
    if not (all(map(len, at)) and file.known[np.ix_(*at)].all()):
        return []
    where = "at (1, 1), as trained:" if any(place) else "at the centre:"
    loss, accuracy = (float(each[np.ix_(*at)].squeeze()) for each in (file["loss"], file.accuracy()))
    if not np.isfinite(loss):
        return []
    said = f"{loss_label([file]).removeprefix(split_of([file])).split(' (')[0]} {label_of(loss)}"
    if not np.isfinite(accuracy):
        return [where, said]
    return [where, f"{said},", f"error {100 * (1 - accuracy):.3g} %"]


def _measured(file: Results) -> np.ndarray:
    return np.where(file.known, file["loss"], np.nan)


def panel(figure: Figure, left: float, bottom: float, width: float, height: float, **how: Any) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up), **how)


def _inward(axes: Axes, number: int) -> None:
    """So many labels, and those at the ends of an axis within it, so that they do not run into those of a neighbour."""
    low, high = axes.get_xlim()
    ticks = [tick for tick in MaxNLocator(number, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]
    axes.set_xticks(ticks)
    for tick, label in zip(ticks, axes.get_xticklabels(), strict=True):
        label.set_horizontalalignment("left" if tick == low else "right" if tick == high else "center")


def _columns(files: Sequence[Results], only: str | None) -> int:
    """Panels side by side; a single network has its contours and its relief there."""
    return len(files) if only else max(2, len(files))


def _gap(files: Sequence[Results], only: str | None) -> float:
    """Inches between panels: more if each has a range of its own to tell, or a relief its scale."""
    if len(files) == 1 and only is None:
        return LEFT
    ranges = {tuple(file.coordinates["y"][[0, -1]]) for file in files}
    return GAP if len(ranges) == 1 or only == "reliefs" else LEFT - 0.1


def _side(columns: int, width: float, gap: float) -> float:
    """Of one panel, in inches."""
    return (width - LEFT - RIGHT - gap * (columns - 1)) / columns


def _sheet(
    files: Sequence[Results], width: float, lines: int, notes: int, only: str | None, view: tuple[float, float]
) -> tuple:
    """A figure with places for contours, reliefs and the colour bar.

    Contours stand above reliefs; of a single network, beside its relief.

    Parameters
    ----------
    lines : of the longest title
    notes : lines of them below the bar
    """
    under, bar = 0.4, 0.09
    head, foot = 0.1 + 0.13 * lines, 0.36 + (0.02 + LINE * notes if notes else 0)
    across, gap = _columns(files, only), _gap(files, only)
    side = _side(across, width, gap)
    beside = len(files) == 1 and not only
    shapes = [np.ptp(file.coordinates["y"]) / np.ptp(file.coordinates["x"]) for file in files]
    tall = 0 if only == "reliefs" else side * np.clip(max(shapes), 0.3, 1.5)
    # Axes of a relief are square, and it does not fill them.
    extents = np.array([relief_extent(file.coordinates["x"], file.coordinates["y"], view) for file in files])
    least, most = side * extents[:, 0].min(), side * extents[:, 1].max()
    deep = 0 if only == "contours" else most - least + NAMES
    low = foot + bar + (max(0, (deep - tall) / 2 - under) if beside else deep) + under * (only != "reliefs")
    figure = Figure((width, low + tall + head))
    columns = [LEFT + i * (side + gap) for i in range(across)]
    tops = [panel(figure, x, low, side, tall) for x in columns[: len(files)] if tall]
    bottom = (low + tall / 2 - (most + least) / 2) if beside else foot + bar + NAMES - least
    reliefs = columns[-len(files) :] if deep else []
    bottoms = [panel(figure, x, bottom, side, side, projection="3d") for x in reliefs]
    inner = width - LEFT - RIGHT
    return figure, tops, bottoms, panel(figure, LEFT + 0.12 * inner, foot, 0.76 * inner, bar)


def colour_bar(
    figure: Figure,
    norm: Normalize,
    colours: Colormap,
    levels: Sequence[float] | np.ndarray | None,
    beyond: str,
    label: str,
    **where: Any,
) -> None:
    """A colour bar of losses; where it goes is told as to matplotlib's."""
    bar = figure.colorbar(ScalarMappable(norm, colours), extend=beyond, **where)
    ticks = levels_of(norm) if levels is None else np.asarray(levels)
    crowded = len(ticks) > 9 and isinstance(norm, LogNorm)
    names = labels_of(ticks)
    if crowded and not _fit(bar.ax, np.asarray(norm(ticks)), names, bar.orientation == "horizontal"):
        names = [name if _is_decade(tick) else "" for tick, name in zip(ticks, names, strict=True)]
    elif sum(map(len, names)) > CHARACTERS and not any("$" in name for name in names):
        names[1::2] = [""] * len(names[1::2])
    bar.set_ticks(list(ticks), labels=names)
    bar.minorticks_off()
    bar.outline.set_linewidth(0.5)
    bar.set_label(label)


def _fit(axes: Axes, places: np.ndarray, names: Sequence[str], across: bool) -> bool:
    """Whether numbers at places, from 0 to 1, of a bar stand apart."""
    box = axes.get_window_extent()
    inches = places * (box.width if across else box.height) / axes.figure.dpi
    sizes = np.array([width_of(name) if across else NOTE / 72 for name in names])
    return bool((np.diff(inches) > (sizes[1:] + sizes[:-1]) / 2 + 0.07).all())


def notes_of(
    files: Sequence[Results], losses: Sequence[np.ndarray], norm: Normalize, beyond: str, what: str = "losses"
) -> list[Artist]:
    """What the ends of the scale leave out, and what has no colour on it, as entries of a legend."""
    missing = {
        "not finite": any((file.known & ~np.isfinite(file["loss"])).any() for file in files),
        "not measured yet": not all(file.known.all() for file in files),
    }
    notes = [Patch(label=name, linewidth=0.4, **MISSING[name]) for name, there in missing.items() if there]
    remarks = _clipped(
        losses, norm, beyond, f"{what} up to {{}} are drawn as {{}}", f"{what} down to {{}} are drawn as {{}}"
    )
    return notes + [Line2D([], [], linestyle="none", label=text) for text in remarks + _interpolated(files)]


def _clipped(losses: Sequence[np.ndarray], norm: Normalize, beyond: str, above: str, below: str) -> list[str]:
    """What is said of losses beyond the ends of a scale: the farthest of them, and the end."""
    finite = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    ends = limits_of(norm)
    high = [above.format(*labels_of([finite.max(), ends[1]]))] if beyond in ("max", "both") else []
    return high + ([below.format(*labels_of([finite.min(), ends[0]]))] if beyond in ("min", "both") else [])


def _interpolated(files: Sequence[Results]) -> list[str]:
    """How much of what is drawn was not measured."""
    parts = [100 * file["interpolated"].mean() for file in files if "interpolated" in file.variables]
    if not any(parts):
        return []
    least, most = f"{min(parts):.0f}", f"{max(parts):.0f}"
    return [f"{least if least == most else f'{least} to {most}'} % of the points are interpolated"]


def loss_label(files: Sequence[Results], scale: str = "") -> str:
    """Such as "training loss (nats per example, log scale)"; of a metric "training KL divergence (nats)"."""
    losses = {str(file.attributes.get("loss", "cross_entropy")): file.unit for file in files}
    if len(losses) > 1:
        raise BadInput(f"losses of different kinds ({', '.join(sorted(losses))}) have no common scale; draw them apart")
    ((loss, unit),) = losses.items()
    name = "loss"
    if all(loss in np.atleast_1d(file.attributes.get("metrics", [])).tolist() for file in files):
        about = files[0].metadata.get("loss", {})
        name, unit = _metric_name(str(about.get("long_name", loss))), str(about.get("units", "")).removeprefix("1")
    elif unit in ("nats", loss):  # of no unit, the name tells what is measured
        unit = UNITS.get(loss, loss if loss.isidentifier() or " " in loss else "")
    details = ", ".join(filter(None, [unit, scale.removeprefix(", ")]))
    return f"{split_of(files)}{name}" + (f" ({details})" if details else "")


def _metric_name(said: str) -> str:
    """What an axis calls a metric: its long name without what all metrics share, or what it is compared with."""
    said = said.removeprefix("test split: ").removesuffix(", mean per example")
    return re.split(" (?:from|with) the unchanged network", said)[0]


def unit_of(files: Sequence[Results]) -> str:
    """What the losses are measured in, "nats" say; of files of different losses all that they are."""
    return " or ".join(dict.fromkeys(file.unit for file in files))


def legend(figure: Figure, where: str, handles: Sequence[Artist]) -> int:
    """A legend at the rim, in as many lines as its entries need; how many these are."""
    size = NOTE if "lower" in where else LEGEND
    beside, lines = arranged(handles, figure.get_figwidth(), size)
    if handles:
        room: dict[str, Any] = {"loc": where, "borderpad": 0.1, "columnspacing": 1.4, "handletextpad": 0.6}
        figure.legend(handles=list(handles), ncols=beside, fontsize=size, **room)
    return lines


def arranged(handles: Sequence[Artist], width: float, size: float = NOTE, most: int = 4) -> tuple[int, int]:
    """How many entries of a legend stand beside each other, and in how many lines; too long ones are wrapped."""
    if not handles:
        return 1, 0
    for handle in handles:
        handle.set_label(wrapped(str(handle.get_label()), width - 0.4, size))
    labels = [str(handle.get_label()) for handle in handles]
    beside = abreast(labels, width, most, size)
    more = [label.count("\n") for label in labels]
    return beside, -(-len(handles) // beside) + (sum(more) if beside == 1 else max(more))


def _is_decade(level: float) -> bool:
    """Whether a loss is a power of ten."""
    return bool(level > 0 and abs(np.log10(level) - np.round(np.log10(level))) < 1e-9)


def axis_label(letter: str, file: Results, room: float = np.inf) -> str:
    """Name of an axis, with what it is measured in where that is known and there is room, in inches."""
    at = "αβγ".index(letter)
    directions = str(file.attributes.get("directions", ""))
    if directions == COMPONENTS and at < 2:
        return f"{letter} (component {at + 1})" if room > 1 else letter
    for attribute, form in {"to": "1: {}", "gates": "gate of {}"}.items():
        names = np.atleast_1d(file.attributes.get(attribute, []))
        if len(names) > at:
            detail = form.format(names[at])
            return f"{letter} ({detail})" if room > 0.3 + 0.065 * len(detail) else letter
    kinds = [kind for kind in NORMALIZATIONS.values() if kind in directions and kind != NORMALIZATIONS["none"]]
    return f"{letter} ({kinds[0]})" if kinds and room > 1.4 else letter
