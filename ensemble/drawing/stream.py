"""Figures of the stream: its variance, what blocks add, what shortcuts carry, how gradients correlate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from ensemble.drawing.flow import MOMENTS, STATISTICS, lines_of, moment_of, names_of, panels_of, rows_of
from ensemble.drawing.measure import Z95
from ensemble.flow.shattering import POINTS
from landscape.drawing.style import LEGEND, NOTE, STYLE, Figure, abreast, check_width, looks_of, wrapped
from landscape.drawing.views import only
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["REPORT", "SHOWN", "by_depth", "streams"]


class Quantity(NamedTuple):
    """How a variable is drawn: its label, a short one, what its band is, and whether on a logarithmic scale."""

    label: str
    short: str
    band: str
    log: bool = True


MANY, ALL, ERROR = BANDS = "90 % of examples", "all examples", "95 % intervals"


SHOWN = {
    "norm": Quantity("norm of the stream", "norm", MANY),
    "variance": Quantity("variance of the stream", "variance", ERROR),
    "residual": Quantity("‖F(x)‖ / ‖x‖", "‖F(x)‖ / ‖x‖", MANY),
    "correlation": Quantity("correlation of gradients", "correlation", ERROR),
    "forward_gain": Quantity("forward gain of shortcuts", "gains", ALL),
    "backward_gain": Quantity("backward gain of shortcuts", "gains", ALL),
    "forward_mixing": Quantity("forward gain of mixing", "gains of mixing", ALL),
    "backward_mixing": Quantity("backward gain of mixing", "gains of mixing", ALL),
    "autocorrelation": Quantity("autocorrelation of gradients", "autocorrelation", ERROR, log=False),
    "effect": Quantity("change of what a block adds", "effect", MANY),
}
REPORT = ("variance", "residual", "correlation", "forward_gain", "backward_gain", "autocorrelation")
WAYS = {"forward_gain": "from the first block on", "backward_gain": "from the head back"}
MIXING = {"forward_mixing": WAYS["forward_gain"], "backward_mixing": WAYS["backward_gain"]}
SPLITS = {"train": "training"}
OF_SHORTCUTS = ("residual", "forward_gain", "backward_gain")
NOTES = 26.0  # inches of all that is written below
# Inches of a panel: with labels of its own, where a row shares them, and of a map.
LEAST, NARROW, LEAST_MAP = 1.4, 0.8, 0.55


def streams(
    files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5, show: str = "report"
) -> Figure:
    """Draw what goes through networks from block to block: a panel for each quantity, depth and moment.

    Parameters
    ----------
    files : one file of kind "stream"
    titles : one a variant; by default the variants as they were typed
    width : of the figure, in inches
    show : "report" for those of `REPORT`, or one of `SHOWN`

    Returns
    -------
    Figure
        A line for each variant: means over seeds of the mean or of the median over examples (geometric ones where the
        scale is logarithmic). Bands are 90 % of the examples, all of them, or 95 % intervals, of all seeds. The effect
        is drawn as maps instead: the blocks that are left out from top to bottom, the later ones from left to right.
    """
    file = only(files)
    if show not in {"report", *SHOWN}:
        raise BadInput(f"there is no {show!r} to show of a stream; use report, {', '.join(SHOWN)}")
    variants = list(dict.fromkeys(file["variant"]))
    names = list(titles or names_of(file, variants))
    if len(names) != len(variants):
        raise BadInput(f"{len(names)} titles for {len(variants)} variants; give one each")
    called = dict(zip(variants, names, strict=True))
    with matplotlib.rc_context(STYLE):
        some = [each for each in (REPORT if show == "report" else (show,)) if _known(file, each)]
        if not some:
            raise BadInput(f"{file.source} has no finite {show} to draw; show something else")
        if show == "effect":
            figure, notes = _maps(file, called, check_width(width))
        else:
            figure, notes = _lines(file, some, called, check_width(width))
        notes.append(_data(file))
        figure.supxlabel(wrapped(" ".join(notes), width - 0.3), fontsize=NOTE)
    return figure


def _data(file: Results) -> str:
    """What was measured on, and with which statistics; those of a network that has any."""
    data, split = file.attributes.get("data"), file.attributes.get("split")
    examples = f"{SPLITS.get(split, split)} split of {data}" if data and split else "examples that were given"
    statistics = (
        STATISTICS[file.attributes["batchnorm"]].replace("images", "examples").replace(" takes", ", if any, takes")
    )
    return f"Measured on the {examples}. {statistics}."


def by_depth(axes: Axes, file: Results, show: str, rows: np.ndarray, *, label: str, **look: Any) -> Axes:
    """Draw one quantity of some networks of one kind and depth, over the depth or the lag.

    Parameters
    ----------
    axes : Axes
    file : of kind "stream"
    show : one of `SHOWN`, but not the effect
    rows : which networks, the seeds of one line
    label : of the line
    look : of the line, for matplotlib, with its colour

    Returns
    -------
    Axes
        The ones given.
    """
    low, middle, high = _band(file, show, rows)
    x = file.coordinates["lag"] if show == "autocorrelation" else np.linspace(0, 1, len(middle))
    style = {**look, "marker": look.get("marker") or "."}
    axes.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
    axes.plot(x, middle, label=label, markersize=2.5, **style)
    return axes


def _band(file: Results, show: str, rows: np.ndarray) -> np.ndarray:
    """Lower end, line and upper end, shape (3, places), NaN where one is not finite or not on the scale."""
    low, middle, high = (values[rows] for values in _three(file, show))  # each (seeds, places)
    if show != "autocorrelation":
        low, middle, high = (values[:, : file["boundaries"][rows][0]] for values in (low, middle, high))
    shown = np.isfinite(np.stack([low, middle, high])).all(axis=(0, 1))
    if show == "correlation":
        shown &= (low > 0).all(axis=0)
    if SHOWN[show].log:
        shown &= (middle > 0).all(axis=0)
        if SHOWN[show].band == ERROR:  # of the logarithm, to first order
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                high = middle * np.exp((high - middle) / middle)
                low = middle**2 / high
    if (show in WAYS or show in MIXING) and shown.sum() < 2:  # nothing but that of no block
        shown = np.zeros_like(shown)
    low, middle, high = (np.where(shown, values, np.nan) for values in (low, middle, high))
    mean = np.exp(np.log(middle).mean(axis=0)) if SHOWN[show].log else middle.mean(axis=0)
    return np.stack([low.min(axis=0), mean, high.max(axis=0)])


def _three(file: Results, show: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if "quantile" in file.dims[show]:
        places = [int(np.flatnonzero(file.coordinates["quantile"] == part)[0]) for part in (0.05, 0.5, 0.95)]
        low, middle, high = (file[show][:, place] for place in places)
        return low, middle, high
    if show in ("forward_gain", "forward_mixing"):
        low, middle, high = (file[f"{show}{suffix}"][:, 0] for suffix in ("_min", "", "_max"))
        return low, middle, high
    if show in ("backward_gain", "backward_mixing"):
        last = np.arange(len(file["boundaries"])), slice(None), file["boundaries"] - 1
        low, middle, high = (file[f"{show}{suffix}"][last] for suffix in ("_min", "", "_max"))
        return low, middle, high
    error = Z95 * file[f"{show}_se"]
    return file[show] - error, file[show], file[show] + error


def _lines(
    file: Results, quantities: Sequence[str], names: Mapping[str, str], width: float
) -> tuple[Figure, list[str]]:
    columns = _columns(file)
    alone = len(columns) == 1  # then quantities stand beside each other, as many as there is room for
    beside = min(len(quantities), int((width - 0.3) / LEAST), 3) if alone else len(columns)
    shape = -(-len(quantities) // beside) if alone else len(quantities), beside
    across = (width - 0.6) / beside
    if across < NARROW:
        raise BadInput(
            f"{beside} depths and moments side by side need {0.6 + NARROW * beside:.1f} inches, and width is "
            f"{width:g}; give more, or measure them apart"
        )
    titles = [_title(column, across) for column in columns]
    labels = len(names) // max(1, abreast([*names.values()], width, 3, LEGEND)) + 1
    high = (0.45 if alone else 0.15 * (1 + max(map(lines_of, titles)))) + 0.11 * int(NOTES / (width - 0.3))
    figure = Figure((width, high + 0.15 * labels + (1.35 if alone else 1.15) * shape[0]), layout="constrained")
    panels = figure.subplots(*shape, squeeze=False, sharey=False if alone else "row")
    look = looks_of(list(names.values()))
    by_quantity = panels.flat if alone else panels
    seen = set()
    for show, some in zip(quantities, by_quantity, strict=False):
        for axes, (depth, moment) in zip([some] if alone else some, columns, strict=True):
            for variant, name in names.items():
                rows = rows_of(file, variant, depth, moment)
                if rows.any() and np.isfinite(_band(file, show, rows)[1]).any():
                    by_depth(axes, file, show, rows, label=name, **look[name])
                    seen.add((show, name))
            if alone or axes is some[0]:
                axes.set_ylabel(fill(SHOWN[show].label, 16))
            if alone or show in ("autocorrelation", _last(quantities)):
                axes.set_xlabel("lag" if show == "autocorrelation" else "position")
            else:
                axes.tick_params(labelbottom=False)
        for axes in [some] if alone else some:
            _scales(axes, show)
    for axes in panels.flat[len(quantities) * len(columns) :]:
        axes.set_axis_off()
    if not alone:
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title)
    figure.align_ylabels(panels[:, 0])
    handles = {
        label: handle for axes in panels.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    ncols = abreast(list(handles), width, 3, LEGEND)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=ncols)
    return figure, _notes(file, quantities, seen, list(names.values()))


def _columns(file: Results) -> list[tuple[int, str]]:
    """The depths and moments that there are networks of."""
    depths, moments = panels_of(file)
    there = set(zip(file["depth"].tolist(), file["moment"].tolist(), strict=True))
    return [(depth, moment) for depth in depths for moment in moments if (depth, moment) in there]


def _only(file: Results) -> list[str]:
    """The depth and the moment, where there is one."""
    columns = _columns(file)
    return [f"All of depth {columns[0][0]}, {MOMENTS[columns[0][1]]}."] if len(columns) == 1 and columns[0][0] else []


def _title(column: tuple[int, str], width: float) -> str:
    """What stands above a panel of so many inches."""
    depth, moment = column
    if width < 1.0:  # in which "at initialisation" has no room
        return f"depth {depth}\n{moment if moment != 'given' else MOMENTS[moment]}"
    return fill(moment_of(depth, moment, ", "), int(14 * width))


def _known(file: Results, show: str) -> bool:
    """Whether there is anything to draw of a quantity."""
    if show == "effect":
        return bool(np.isfinite(file["effect"]).any())
    lines = {*zip(file["variant"].tolist(), file["depth"].tolist(), file["moment"].tolist(), strict=True)}
    rows = [rows_of(file, *line) for line in lines]
    return any(mine.any() and bool(np.isfinite(_band(file, show, mine)[1]).any()) for mine in rows)


def _last(quantities: Sequence[str]) -> str:
    """The last of those that are drawn over the position."""
    return [show for show in ("", *quantities) if show != "autocorrelation"][-1]


def _scales(axes: Axes, show: str) -> None:
    if show == "autocorrelation":
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([1, 8, 64]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.axhline(0, color="0.6", linewidth=0.5, zorder=0)
    else:
        axes.set_xlim(-0.05, 1.05)
    if SHOWN[show].log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        if high < 5 * low:
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        elif high < 100 * low:  # too few powers of ten
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())


def _notes(file: Results, quantities: Sequence[str], seen: set[tuple[str, str]], names: Sequence[str]) -> list[str]:
    """What lines and bands are, and what is not there."""
    seeds = len(np.unique(file["seed"]))
    of_seeds = f"means of {seeds} seeds, geometric ones on logarithmic scales" if seeds > 1 else "of one seed"
    notes = [*_only(file), f"Lines are {of_seeds}."]
    shown = [show for show in quantities if any(show == other for other, _ in seen)]
    bands = []
    for band in BANDS:
        if several := dict.fromkeys(SHOWN[show].short for show in shown if SHOWN[show].band == band):
            bands.append(f"{band} ({', '.join(several)})")
    if bands:
        notes.append(f"Bands: {', '.join(bands)}{'; each of all seeds' * (seeds > 1)}.")
    if any(show != "autocorrelation" for show in quantities):
        notes.append("Position 0 is the first block, 1 the head.")
    if gains := [way for name, way in WAYS.items() if name in shown]:
        notes.append(f"Gains are of all shortcuts {' and '.join(gains)}.")
    if mixing := [way for name, way in MIXING.items() if name in shown]:
        notes.append(
            f"Gains of mixing are the most that the product of all can do to a stream, {' and '.join(mixing)}."
        )
    if "autocorrelation" in quantities:
        notes.append(f"Lags are in steps of 1/{POINTS - 1} of the way between two examples.")
    lacking = [name for name in names if not any((show, name) in seen for show in OF_SHORTCUTS)]
    if lacking and {*OF_SHORTCUTS} & {*quantities}:
        notes.append("Without shortcuts nothing is carried and nothing added.")
    if "correlation" in quantities:
        notes.append("Correlations within the error of 0 are left out.")
    return notes


def _maps(file: Results, names: Mapping[str, str], width: float) -> tuple[Figure, list[str]]:
    columns = _columns(file)
    most_beside = int((width - 1.1) / LEAST_MAP)
    turned = len(names) > len(columns) and (len(names) <= most_beside or len(columns) == 1)  # variants side by side
    across: list[Any] = [*names] if turned else columns
    beside = min(len(across), most_beside) if len(columns) == 1 else len(across)
    side = (width - 1.1) / max(2, beside)
    if side < LEAST_MAP:
        raise BadInput(
            f"{beside} maps side by side need {1.1 + LEAST_MAP * beside:.1f} inches, and width is {width:g}; "
            "give more, or measure networks apart"
        )
    titled: dict[Any, str] = {column: _title(column, side) for column in columns}
    titled |= {variant: wrapped(name, side, STYLE["axes.titlesize"]) for variant, name in names.items()}
    places = [(variant, column) for variant in names for column in columns]
    if turned:
        places = [(variant, column) for column in columns for variant in names]
    lines = -(-len(places) // beside)
    median = file["effect"][:, int(np.flatnonzero(file.coordinates["quantile"] == 0.5)[0])]
    known = median[np.isfinite(median)]
    most = float(np.quantile(known, 0.98))  # one block must not take all the colours
    above = 0.15 * (1 + max(titled[each].count("\n") for each in across))
    figure = Figure(
        (width, 0.8 + (side + 0.15) * lines + above * (lines if len(columns) == 1 else 1)), layout="constrained"
    )
    panels = figure.subplots(lines, beside, squeeze=False)
    for place, (axes, (variant, column)) in enumerate(zip(panels.flat, places, strict=False)):
        if place < beside or len(columns) == 1:
            axes.set_title(titled[variant if turned else column])
        if place % beside == 0 and len(columns) > 1:
            axes.set_ylabel(titled[column if turned else variant])
        rows = rows_of(file, variant, *column)
        if not rows.any():
            axes.set(xticks=[], yticks=[], frame_on=False)
            continue
        size = file["boundaries"][rows][0] - 1
        values = median[rows].mean(axis=0)[:size, :size]
        image = axes.imshow(values, vmin=0, vmax=most or 1.0, cmap="viridis")
        ends = sorted({0, size - 1})
        axes.set_xticks(ends, [str(1 + end) for end in ends])
        axes.set_yticks(ends, [str(1 + end) for end in ends])
    for axes in panels.flat[len(places) :]:
        axes.set_axis_off()
    bar: dict[str, Any] = {"label": SHOWN["effect"].label, "extend": "max" if known.max() > most else "neither"}
    figure.colorbar(image, ax=list(panels.flat), aspect=30, pad=0.02, **bar)
    seeds = len(np.unique(file["seed"]))
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    notes = [
        *_only(file),
        "‖ΔF‖/‖F‖ of later blocks, from left to right, by the block left out, from top to bottom; "
        f"median over examples{mean}.",
    ]
    if not np.isfinite(file["residual"]).any(axis=(1, 2)).all():
        notes.append(
            "A block without a shortcut adds all that it gives; one that changes the shape cannot be left out."
        )
    return figure, notes
