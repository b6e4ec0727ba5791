"""Pages of deletions to explore: click the blocks of a network away, and read what was measured without them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files as resources
from itertools import groupby
from typing import Any

import numpy as np

from ensemble.drawing.measure import SAME, accuracy_interval, as_errors, interval, label
from ensemble.lesions.kinds import change_of
from landscape.analysis.labels import network_label
from landscape.drawing.document import FONT, document, packed, plain, plotly, provenance
from landscape.drawing.style import COLORS
from landscape.drawing.views import metrics_of
from landscape.drawing.words import loss_label, split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["lesion_page", "numbers", "trials"]

HELP = (
    "Click a block to delete it, again to put it back. What is shown was measured. Where these blocks were never "
    "deleted together, it is the nearest trial, with the blocks in which that differs. Blocks are numbered by "
    "depth, as in figures."
)


def lesion_page(files: Sequence[Results], *, titles: Sequence[str] | None = None) -> str:
    """A page with a network's blocks in a row, and what was measured when some of them are deleted.

    Parameters
    ----------
    files : tables of deletions of one network, which become one
    titles : one a file; by default their names

    Returns
    -------
    str
        See `landscape.drawing.document.save_page`.

    Raises
    ------
    BadInput
        Files of several networks, or of another measurement; lesions that are no deletions.
    """
    first = files[0]
    _check(files)
    names = [file.path.stem if file.path else network_label(file.network) for file in files]
    titles = titles_of(files, titles or names)
    table = trials(files)
    blocks = [str(name) for name in first.coordinates["block"]]
    errors = as_errors(files)
    error = f"{split_of(files)}{'error' if errors else 'loss'}"
    body = [
        f"<p>{HELP}</p>",
        *_row(blocks),
        '<p class="controls"><button id="reset">reset: the whole network</button></p>',
        '<div class="panels">',
        '<section class="panel" aria-live="polite">',
        '<p id="chosen"></p>',
        f'<p class="number">{error} <strong id="error"></strong> <span id="interval"></span></p>',
        f'<p class="number">Δ {escape(loss_label(files))} <strong id="rise"></strong> <span id="rise-se"></span></p>',
        '<p id="match"></p>',
        '<p id="differs"></p>',
        '<p id="ties"></p>',
        '<p class="note" id="trial"></p>',
        "</section>",
        '<section class="panel"><div class="plot" id="plot"></div>',
        '<p class="note">Every point is a trial; click one to delete its blocks. The line joins medians, the band '
        "quartiles of the trials that are here. Points are moved a little aside, so that none hides another.</p>",
        "</section>",
        "</div>",
        provenance(files),
    ]
    data = {
        "figure": plain(numbers(table, titles, label(files, errors))),
        "trials": {name: packed(array.ravel()) for name, array in table.items()},
        "blocks": blocks,
        "titles": titles,
        "metrics": _metrics_of_all(files),
    }
    style = (resources(__package__) / "lesion.css").read_text("utf-8")
    title = f"Deleted blocks: {network_label(first.network)}"
    script = (resources(__package__) / "lesion.js").read_text("utf-8")
    return document(title, "\n".join([f"<style>{style}</style>", *body]), data, script)


def trials(files: Sequence[Results]) -> dict[str, np.ndarray]:
    """The trials of several tables as one, each set of deleted blocks once: as its first table has it.

    Returns
    -------
    dict of ndarray, the first axis trials
        ``deleted``, bool, shape (trials, blocks); ``loss``; ``error`` and the ends ``low`` and ``high`` of its
        Wilson 95 % interval, as fractions; ``rise``, the difference of the loss to the intact network's, and
        ``rise_se``, NaN where a table does not have it; ``examples``; ``file`` and ``trial``, where a row is from; and
        ``times``, how many trials deleted the same.
        Where accuracy is not defined there is no ``error``, and the ends are those of the loss. Metrics that all
        files have are ``metric NAME`` and ``metric NAME_se``.
    """
    parts, errors, metrics = [], as_errors(files), _metrics_of_all(files)
    for i, file in enumerate(files):
        done = file["done"]
        low, high = accuracy_interval(file) if errors else interval(file, errors)
        intact = np.flatnonzero(done & ~file["deleted"].any(axis=1))
        known = file["loss"][intact[0]] if len(intact) else np.nan
        part = {
            "deleted": file["deleted"],
            "loss": file["loss"],
            **(
                {"error": 1 - file["accuracy"], "low": 1 - high, "high": 1 - low}
                if errors
                else {"low": low, "high": high}
            ),
            "rise": file.variables.get("rise", file["loss"] - known),
            "rise_se": file.variables.get("rise_se", np.full(len(done), np.nan)),
            "examples": file["examples"],
            "file": np.full(len(done), i),
            "trial": file.coordinates["trial"],
        }
        for name in metrics:
            part[f"metric {name}"], part[f"metric {name}_se"] = metrics_of(file)[name]
        parts.append({name: array[done] for name, array in part.items()})
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    _, first, times = np.unique(table["deleted"], axis=0, return_index=True, return_counts=True)
    once = np.argsort(first)
    return {name: array[first[once]] for name, array in table.items()} | {"times": times[once]}


def _metrics_of_all(files: Sequence[Results]) -> list[str]:
    """Names of the metrics that every file has."""
    return [name for name in metrics_of(files[0]) if all(name in metrics_of(file) for file in files)]


def numbers(table: dict[str, np.ndarray], titles: Sequence[str], label: str = "error (%)") -> Any:
    """A plotly figure of the error (or loss) by number of deleted blocks.

    Every trial is a point, whose number is its customdata.

    Parameters
    ----------
    table : as from `trials`
    titles : of its files
    label : of the error in percent, or of the loss where the table has no error

    Returns
    -------
    plotly.graph_objects.Figure
        Its last trace is empty: the place of the trial that is chosen.
    """
    go = plotly().graph_objects
    errors, count = "error" in table, table["deleted"].sum(axis=1)
    values = 100 * table["error"] if errors else np.where(np.isfinite(table["loss"]), table["loss"], np.nan)
    aside = count + np.random.default_rng(0).uniform(-0.18, 0.18, len(count)) * (count > 0)  # for the eye only
    counts = np.unique(count)
    known = [values[(count == k) & np.isfinite(values)] for k in counts]
    low, middle, high = np.array([np.percentile(v, [25, 50, 75]) if v.size else [np.nan] * 3 for v in known]).T
    template = "error %{y:.2f} %" if errors else "loss %{y:.4g}"
    figure = go.Figure()
    line = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
    figure.add_scatter(x=counts, y=low, line={"width": 0}, **line)
    figure.add_scatter(x=counts, y=high, line={"width": 0}, fill="tonexty", fillcolor="rgba(0, 0, 0, 0.1)", **line)
    figure.add_scatter(x=counts, y=middle, line={"width": 2, "color": "#555"}, **line)
    for i, title in enumerate(titles):
        mine = np.flatnonzero(table["file"] == i)
        figure.add_scatter(
            x=aside[mine],
            y=values[mine],
            mode="markers",
            marker={"color": COLORS[i % len(COLORS)], "size": 6, "opacity": 0.55},
            customdata=np.column_stack([mine, count[mine]]),
            hovertemplate=f"%{{customdata[1]}} deleted: {template}<extra></extra>",
            name=escape(title, quote=False),
            showlegend=len(titles) > 1,
        )
    chosen = {"color": "rgba(0, 0, 0, 0)", "size": 15, "line": {"color": "black", "width": 2.5}}
    figure.add_scatter(
        x=[], y=[], mode="markers", marker=chosen, error_y={"color": "black"}, hoverinfo="skip", name="shown"
    )
    axis = {"gridcolor": "#e4e4e4", "linecolor": "#888", "ticks": "outside", "zeroline": False}
    # Whole numbers, without a tick for each of hundreds.
    across = {"title": {"text": "number of deleted blocks", "standoff": 8}, "automargin": True}
    across["range"] = [-0.5, max(counts, default=1) + 0.5]
    across |= {"dtick": 1} if max(counts, default=1) <= 20 else {"tickformat": "d"}
    figure.update_layout(
        template="none",
        font=FONT,
        xaxis=axis | across,
        yaxis=axis | {"title": {"text": escape(label, quote=False)}, "rangemode": "tozero"},
        hovermode="closest",
        # At the foot, which makes room for it, since the tool bar lies above.
        legend={"traceorder": "normal", "orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        margin={"l": 60, "r": 10, "t": 30, "b": 50},
    )
    return figure


def _row(blocks: Sequence[str]) -> list[str]:
    """The blocks as buttons, numbered by depth from 1, in groups of what their names share before the last dot."""
    row = ['<div class="blocks">']
    for stage, places in groupby(range(len(blocks)), lambda i: blocks[i].rpartition(".")[0]):
        row.append(f'<div class="stage" role="group" aria-label="{escape(stage)}"><span>{escape(stage)}</span><div>')
        for i in places:
            name = f"block {i + 1}, {escape(blocks[i])}"
            how = f'aria-pressed="false" aria-label="delete {name}" title="{name}"'
            row.append(f'<button class="block" data-block="{i}" {how}>{i + 1}</button>')
        row.append("</div></div>")
    return [*row, "</div>"]


def _check(files: Sequence[Results]) -> None:
    first = files[0]
    for file in files:
        if (change := change_of(file)).variable != "deleted":
            other = f"{file.source} has lesions of another kind ({change.label})"
            raise BadInput(f"{other}, and a page shows deletions; draw it as a PDF")
        if not file["done"].any():
            raise BadInput(f"{file.source} has no trial that is measured yet; let the measuring go on")
        differing = {name: [str(each.attributes.get(name)) for each in (first, file)] for name in SAME}
        differing["blocks"] = [", ".join(map(str, each.coordinates["block"])) for each in (first, file)]
        for name, (one, other) in differing.items():
            if one != other:
                raise BadInput(
                    f"{first.source} and {file.source} are not of one network measured in one way: their {name} is "
                    f"{one:.60} and {other:.60}; make a page for each"
                )
