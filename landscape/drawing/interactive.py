"""Interactive figures of loss surfaces, made with plotly: reliefs with paths on them, and lines.

They hold the losses themselves; a relief's heights, colours and ticks follow the scale that its page's reader chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from landscape.drawing.document import FONT, plotly
from landscape.drawing.lines import line_label
from landscape.drawing.page import place_of
from landscape.drawing.style import COLORS, colormap, looks_of
from landscape.drawing.views import metrics_of
from landscape.drawing.words import axis_label, split_of
from landscape.engine.table import Results

__all__ = ["examples", "line", "path", "relief"]

INK = COLORS[1]


def relief(layers: Sequence[Results], label: str, *, cmap: str = "viridis", opacity: float = 1.0) -> Any:
    """A plotly figure of surfaces over (y, x), the first of them visible.

    Parameters
    ----------
    layers : with the same coordinates
    label : of the loss
    cmap : name of a colour map
    opacity : of the surface; below 1, paths behind it shine through

    Returns
    -------
    plotly.graph_objects.Figure
        Of `layers` surfaces and, where the network lies on the grid, a point for it.
    """
    go = plotly().graph_objects
    first = layers[0]
    x, y = first.coordinates["x"], first.coordinates["y"]
    bar = {"orientation": "h", "thickness": 10, "len": 0.8, "y": 0, "yanchor": "top", "outlinewidth": 0}
    bar |= {"title": {"text": escape(label, quote=False), "side": "bottom"}}
    figure = go.Figure()
    for i, layer in enumerate(layers):
        figure.add_surface(
            x=x,
            y=y,
            z=np.where(layer.known, layer["loss"], np.nan),
            colorscale=_colorscale(cmap),
            # Mostly ambient light, so that a colour means its loss wherever the eye is.
            lighting={"ambient": 0.75, "diffuse": 0.35, "specular": 0, "roughness": 1},
            lightposition={"x": 0, "y": 0, "z": 1e5},
            colorbar=bar,
            hoverinfo="none",
            visible=i == 0,
            opacity=opacity,
        )
    across, up = place_of(first)
    at = np.flatnonzero(y == up), np.flatnonzero(x == across)
    if all(map(len, at)):
        loss = first["loss"][np.ix_(*at)].ravel()
        mark = {"symbol": "diamond", "size": 4, "color": "white", "line": {"color": "black", "width": 1}}
        where = {"x": [across], "y": [up], "z": loss}
        figure.add_scatter3d(**where, mode="markers", marker=mark, hoverinfo="none", name="the network")
    axes = {"xaxis": _axis(first, 0), "yaxis": _axis(first, 1), "zaxis": {"title": {"text": "loss"}}}
    look = {"backgroundcolor": "white", "gridcolor": "#ccc", "zerolinecolor": "#999", "showspikes": False}
    scene: dict[str, Any] = {name: look | axis for name, axis in axes.items()}
    deep = float(np.clip(np.ptp(y) / np.ptp(x), 0.3, 3))
    size = (1 + deep) / 2
    scene |= {"aspectmode": "manual", "aspectratio": {"x": 1 / size, "y": deep / size, "z": 0.7}}
    legend = {"orientation": "h", "y": 1, "x": 0, "itemsizing": "constant"}
    figure.update_layout(template="none", font=FONT, scene=scene, legend=legend, showlegend=True)
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 70})
    return figure


def path(file: Results, color: str = INK, name: str | None = None) -> list:
    """A training's path as plotly traces: at its own loss, at that of the nearest points in the plane, strokes between.

    The checkpoints lie off the plane, so the path is no line on the surface.

    Parameters
    ----------
    file : of kind "trajectory"
    color : of the path
    name : of the path, where there are several
    """
    go = plotly().graph_objects
    along, across, done = file["alpha"], file["beta"], file["done"]
    true, flat = (np.where(done, file[name], np.nan) for name in ("loss", "plane_loss"))
    names = [escape(str(name), quote=False) for name in file.coordinates["checkpoint"]]
    labels = {"text": names, "customdata": np.column_stack([true, flat, file["off_plane"]])}
    labels["hovertemplate"] = (
        "%{text}<br>α %{x:.4g}, β %{y:.4g}<br>loss %{customdata[0]:.4g}<br>nearest in the plane %{customdata[1]:.4g}"
        "<br>%{customdata[2]:.4g} off the plane<extra></extra>"
    )
    gap = np.full(len(along), np.nan)
    strokes = {
        "x": np.column_stack([along, along, gap]).ravel(),
        "y": np.column_stack([across, across, gap]).ravel(),
        "z": np.column_stack([true, flat, gap]).ravel(),
    }
    size = np.where(np.isin(np.arange(len(along)), [0, len(along) - 1]), 6, 3)
    symbol = ["square", *["circle"] * (len(along) - 2), "diamond"][: len(along)]
    return [
        go.Scatter3d(
            x=along,
            y=across,
            z=true,
            mode="lines+markers",
            line={"color": color, "width": 5},
            marker={"color": color, "size": size, "symbol": symbol},
            name=f"{escape(name or 'path', quote=False)}, at its own loss: it leaves the plane (square to diamond)",
            **labels,
        ),
        go.Scatter3d(
            x=along,
            y=across,
            z=flat,
            mode="lines",
            line={"color": "black", "width": 4},
            name="nearest points in the plane",
            **labels,
        ),
        go.Scatter3d(
            **strokes, mode="lines", line={"color": "#777", "width": 1}, name="from one to the other", hoverinfo="skip"
        ),
    ]


def line(
    lines: Sequence[Sequence[tuple[str, Results]]], titles: Sequence[str], label: str, variable: str = "loss"
) -> Any:
    """A plotly figure of losses over α, and of errors, dashed, on the right.

    Parameters
    ----------
    lines : of each file its repeats with their names, one or more
    titles : of the files
    label : of the loss
    variable : which loss it is
    """
    go = plotly().graph_objects
    figure = go.Figure()
    there = False
    for i, (layers, title) in enumerate(zip(lines, titles, strict=True)):
        color, group = looks_of(titles)[title]["color"], {"legendgroup": str(i), "name": escape(title, quote=False)}
        for j, (_, layer) in enumerate(layers):
            known = layer.known & np.isfinite(layer["loss"])
            x, loss = layer.coordinates["x"], np.where(known, layer["loss"], np.nan)
            errors = np.where(layer.known, 100 * (1 - layer.accuracy()), np.nan)
            parts = [(" ± ", ":.2g", "", layer["loss_se"])]
            parts += [(", error ", ":.2f", " %", errors), (", accuracy ", ":.2f", " %", 100 - errors)]
            for metric, (values, error) in metrics_of(layer, variable).items():
                said = escape(metric, quote=False).replace("%{", "{")
                parts += [(f", {said} ", ":.4g", "", values), (" ± ", ":.2g", "", error)]
            parts.append((", ", "", " examples", examples(layer, variable)))
            parts = [part for part in parts if np.isfinite(part[-1]).any()]
            template = "%{y:.4g}" + "".join(
                f"{before}%{{customdata[{k}]{form}}}{after}" for k, (before, form, after, _) in enumerate(parts)
            )
            figure.add_scatter(
                x=x,
                y=loss,
                mode="lines",
                line={"color": color, "width": 2},
                customdata=np.column_stack([part[-1] for part in parts]),
                hovertemplate=template,
                showlegend=j == 0,
                **group,
            )
            there |= bool(np.isfinite(errors).any())
            dashed = {"color": color, "width": 1, "dash": "dash"}
            figure.add_scatter(
                x=x, y=errors, yaxis="y2", mode="lines", line=dashed, hoverinfo="skip", showlegend=False, **group
            )
    axis = {
        "gridcolor": "#e4e4e4",
        "zerolinecolor": "#bbb",
        "linecolor": "#888",
        "ticks": "outside",
        "exponentformat": "power",
    }
    error_axis: dict[str, object] = {
        "title": {"text": f"{split_of([layers[0][1] for layers in lines])}error (%), dashed"},
        "range": [0, 100],
        "tickmode": "auto",
    }
    figure.update_layout(
        template="none",
        font=FONT,
        xaxis=axis | {"title": {"text": escape(line_label([layers[0][1] for layers in lines]), quote=False)}},
        yaxis=axis | {"title": {"text": escape(label, quote=False)}},
        yaxis2=axis | error_axis | {"overlaying": "y", "side": "right", "showgrid": False, "visible": there},
        hovermode="x unified",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 80, "r": 70, "t": 40, "b": 60},
    )
    return figure


def examples(layer: Results, variable: str) -> np.ndarray:
    """How many examples a loss is the mean of."""
    return layer["test_examples" if variable.startswith("test_") else "examples"]


def _axis(file: Results, i: int) -> dict:
    """α or β, with what it is measured in where that is known."""
    return {"title": {"text": escape(axis_label("αβ"[i], file), quote=False)}}


def _colorscale(cmap: str) -> list[tuple[float, str]]:
    """One of matplotlib's colour maps as plotly has it."""
    colours = colormap(cmap)
    return [(place, to_hex(colours(place))) for place in np.linspace(0, 1, 65).tolist()]
