"""Figures of what goes on from block to block: gradients, refinement, early exits, similarity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from ensemble.flow.profile import JACOBIANS
from landscape.analysis.labels import network_label
from landscape.drawing.style import LEGEND, NOTE, STYLE, Figure, abreast, check_width, looks_of, wrapped
from landscape.drawing.views import only
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = [
    "MOMENTS",
    "SHOWN",
    "STATISTICS",
    "by_position",
    "flows",
    "lines_of",
    "moment_of",
    "names_of",
    "panels_of",
    "rows_of",
]

MOMENTS = {"initial": "at initialisation", "trained": "trained", "given": "as given"}
STATISTICS = {
    "batch": "BatchNorm takes each batch's statistics",
    "recalibrated": "BatchNorm takes the statistics of these images",
    "frozen": "BatchNorm takes its stored statistics",
}


class Quantity(NamedTuple):
    """How a variable of a file is drawn: its label, and whether on a logarithmic scale."""

    label: str
    log: bool = False


SHOWN = {
    "gradient": Quantity("gradient / gradient at head", log=True),
    "parameter_gradient": Quantity("gradient of parameters ({unit})", log=True),
    "residual": Quantity("‖F(x)‖ / ‖x‖", log=True),
    "share": Quantity("share of variance added", log=True),
    "cosine": Quantity("cos(F(x), ∂L/∂x)"),
    "exit_loss": Quantity("loss of early exit ({unit})", log=True),
    "exit_accuracy": Quantity("accuracy of early exit"),
    "sigma_max": Quantity("largest singular value", log=True),
    "sigma_min": Quantity("smallest singular value", log=True),
    "similarity": Quantity("similarity (CKA)"),
}


def flows(
    files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5, show: str = "gradient"
) -> Figure:
    """Draw one quantity over the depth of the networks: a panel for each depth and moment, a line for each variant.

    Parameters
    ----------
    files : one file of kind "flow"
    titles : one a variant; by default the variants as they were typed
    width : of the figure, in inches
    show : one of `SHOWN`

    Returns
    -------
    Figure
        Lines are means over seeds of the median over examples (geometric ones where the scale is logarithmic), bands
        span the seeds. The similarity is drawn as maps instead, a row for each variant, from the first boundary at the
        bottom left to the head at the top right.
    """
    file = only(files)
    if show not in SHOWN:
        raise BadInput(f"there is no {show!r} to show; use {', '.join(SHOWN)}")
    if show not in file.variables:
        cure = "measure it with --jacobians" if show in JACOBIANS else "show something else"
        raise BadInput(f"{file.source} has no {show}; {cure}")
    variants = list(dict.fromkeys(file["variant"]))
    names = list(titles or names_of(file, variants))
    if len(names) != len(variants):
        raise BadInput(f"{len(names)} titles for {len(variants)} variants; give one each")
    called = dict(zip(variants, names, strict=True))
    with matplotlib.rc_context(STYLE):
        draw = _maps if show == "similarity" else _lines
        figure = draw(file, show, called, check_width(width))
        seeds = len(np.unique(file["seed"]))
        if show == "similarity":
            what = f"Maps are means of {seeds} seeds" if seeds > 1 else "Maps are of one seed"
        else:
            means = f"{'geometric ' * SHOWN[show].log}means of {seeds} seeds and bands their ranges"
            what = f"Lines are {means if seeds > 1 else 'of one seed'}"
        batchnorm = file.attributes["batchnorm"]
        if batchnorm == "batch" and "gradient" not in show:
            batchnorm = "recalibrated"  # see ensemble.flow.profile
        note = f"{what}, on training images of {file.attributes['data']}. {STATISTICS[batchnorm]}."
        if missing := _missing(file, show) if show != "similarity" else []:
            note += f" Nothing is drawn for {', '.join(missing[:-1])}{' or ' * (len(missing) > 1)}{missing[-1]}."
        if show != "similarity" and len(set(file["depth"].tolist())) > 1:
            note += " Each depth has a vertical scale of its own."
        figure.supxlabel(wrapped(note, width - 0.3), fontsize=NOTE)
    return figure


def by_position(axes: Axes, values: np.ndarray, *, label: str, log: bool, **look: Any) -> Axes:
    """Draw values, shape (seeds, boundaries), over the depth, from 0 at the first block to 1 at the head.

    A line is the mean over seeds, a band spans them. What is not finite, or not positive on a logarithmic scale,
    leaves a gap. `look` is of the line, for matplotlib, and has its colour.
    """
    shown = np.where(np.isfinite(values) & ((values > 0) | (not log)), values, np.nan)
    shown, position = np.log(shown) if log else shown, np.linspace(0, 1, values.shape[1])
    low, mean, high = shown.min(axis=0), shown.mean(axis=0), shown.max(axis=0)
    if log:
        low, mean, high = np.exp([low, mean, high])
    axes.fill_between(position, low, high, color=look["color"], alpha=0.2, linewidth=0)
    axes.plot(position, mean, label=label, markersize=2.5, **{**look, "marker": look.get("marker") or "."})
    return axes


def _lines(file: Results, show: str, names: dict[str, str], width: float) -> Figure:
    depths, moments = panels_of(file)
    shape = len(depths), len(moments)
    across = (width - 0.6) / shape[1]  # inches of a panel
    titles = {key: fill(moment_of(*key, ", "), int(14 * across)) for key in product(depths, moments)}
    position = fill("position (0: first block, 1: head)", int(16 * across))
    more = 0.13 * (max(map(lines_of, titles.values())) * shape[0] + lines_of(position))
    figure = Figure(
        (width, 0.75 + 0.15 * -(-len(set(names.values())) // 3) + 1.7 * shape[0] + more), layout="constrained"
    )
    panels = figure.subplots(*shape, squeeze=False, sharex=True, sharey="row")
    look = looks_of(list(names.values()))
    for line, depth in zip(panels, depths, strict=True):
        for axes, moment in zip(line, moments, strict=True):
            for variant in names:
                rows = rows_of(file, variant, depth, moment)
                values = _values(file, show)[rows]
                if np.isfinite(values).any():
                    by_position(
                        axes,
                        values[:, : file["boundaries"][rows][0]],
                        label=names[variant],
                        log=SHOWN[show].log,
                        **look[names[variant]],
                    )
            if show == "share":
                count = file["boundaries"][file["depth"] == depth].max() - 1
                blocks = np.arange(count)
                axes.plot(blocks / count, 1 / (blocks + 2), color="black", linestyle=":", label="1/(l + 1) at block l")
            axes.set_title(titles[depth, moment])
            if SHOWN[show].log:
                axes.set_yscale("log")
            elif show == "cosine":
                axes.axhline(0, color="0.6", linewidth=0.5, zorder=0)
    for axes in panels[:, 0]:
        axes.set_ylabel(fill(SHOWN[show].label.format(unit=file.unit), 20))
    figure.align_ylabels(panels[:, 0])
    for axes in panels[-1]:
        axes.set_xlabel(position)
    handles = {
        label: handle for axes in panels.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    beside = abreast(list(handles), width, 3, LEGEND)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=beside)
    return figure


def moment_of(depth: int, moment: str, between: str) -> str:
    """What a panel shows: of which depth, if that is known, and when."""
    return f"depth {depth}{between}{MOMENTS[moment]}" if depth else MOMENTS[moment]


def lines_of(text: str) -> int:
    """How many lines a text has beyond the first."""
    return text.count("\n")


def _maps(file: Results, show: str, names: dict[str, str], width: float) -> Figure:
    depths, moments = panels_of(file)
    columns = [(depth, moment) for depth in depths for moment in moments]
    side = (width - 1.0) / max(2, len(columns))
    figure = Figure((width, 0.6 + (side + 0.1) * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(columns), squeeze=False)
    for place, (line, variant) in enumerate(zip(panels, names, strict=True)):
        for axes, (depth, moment) in zip(line, columns, strict=True):
            rows = rows_of(file, variant, depth, moment)
            axes.set(xticks=[], yticks=[])
            if not rows.any():
                axes.set_axis_off()
                continue
            size = file["boundaries"][rows][0]
            values = file[show][rows].mean(axis=0)[:size, :size]
            drawn = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", origin="lower")
            if place == 0:
                axes.set_title(moment_of(depth, moment, ",\n"))
        line[0].set_ylabel(names[variant], fontsize=NOTE)
    figure.colorbar(drawn, ax=list(panels.flat), label=SHOWN[show].label, aspect=40, pad=0.02)
    return figure


def names_of(file: Results, variants: Sequence[str]) -> list[str]:
    """What variants are called: stored networks by their kind alone, as panels have their depths, unless two are alike.

    A checkpoint is named by its file, such as resnet-56-0: a kind, a depth and a seed.
    """
    depths = {variant: int(file["depth"][file["variant"] == variant][0]) for variant in variants}
    kinds = [re.sub(rf"-{depth}(-\d+)?$", "", variant) for variant, depth in depths.items()]
    if len(set(zip(kinds, depths.values(), strict=True))) < len(variants):
        kinds = list(variants)
    return [network_label(re.sub(r"^preact$", "preact-resnet", kind)) for kind in kinds]


def _missing(file: Results, show: str) -> list[str]:
    """What has no place in a figure of lines, so that they end, have gaps, or are not there."""
    values, residual = _values(file, show), _values(file, "residual")
    absent = file["done"] & np.isnan(values).all(axis=1)
    lacking = absent & np.isnan(residual).all(axis=1)
    reasons = ["networks without shortcuts"] * bool(lacking.any())
    reasons += ["branches that give 0"] * bool((absent & (residual == 0).any(axis=1)).any())
    for size in set(file["boundaries"].tolist()):
        known = values[file["done"] & ~absent & (file["boundaries"] == size), :size]
        if not len(known):
            continue
        never = np.isnan(known).all(axis=0)
        reasons += ["blocks that change the shape"] * bool(never[:-1].any()) + ["the head"] * bool(never[-1])
        reasons += ["values that are not finite"] * (not np.isfinite(known[:, ~never]).all())
        reasons += ["values of 0"] * bool(SHOWN[show].log and (known == 0).any())
    return list(dict.fromkeys(reasons))


def panels_of(file: Results) -> tuple[list[int], list[str]]:
    """The depths and the moments that a file has networks of."""
    return sorted(set(file["depth"].tolist())), [moment for moment in MOMENTS if moment in file["moment"]]


def rows_of(file: Results, variant: str, depth: int, moment: str) -> np.ndarray:
    """Which rows are the seeds of one line, and measured."""
    mine = (file["variant"] == variant) & (file["depth"] == depth) & (file["moment"] == moment)
    return mine & file["done"]


def _values(file: Results, show: str) -> np.ndarray:
    """(network, boundary); of what has quantiles the median."""
    values = file[show]
    if "quantile" in file.dims[show]:
        values = values[:, np.flatnonzero(file.coordinates["quantile"] == 0.5)[0]]
    return values
